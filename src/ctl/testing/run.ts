import { systemClock } from "#base";
import { KubeClient, type Transport } from "#kube";
import type { ReleaseConfig } from "../cluster.ts";
import { runProgram } from "../program.ts";

interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command line. `files`: readable files by path; `env`: its environment; `connect`: @default as programs do. */
export async function runLine(
  argv: readonly string[],
  files: Readonly<Record<string, string>>,
  { env, connect }: { readonly env: NodeJS.ProcessEnv } & Pick<Parameters<typeof runProgram>[1], "connect">,
): Promise<Ran> {
  let [out, err] = ["", ""];
  const status = await runProgram(argv, {
    name: "spiderpoolctl",
    io: {
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
      env,
      interactive: false,
      read: (path) => {
        const text = files[path];
        return text === undefined
          ? Promise.reject(new Error(`${path}: no such file`))
          : Promise.resolve([{ name: path, text }]);
      },
      signal: AbortSignal.timeout(120_000),
    },
    ...(connect !== undefined && { connect }),
  });
  return { status, out, err };
}

/**
 * The same against an API server in this process. `mounted`: as in a Pod of the release; `path`: where programs are.
 */
export function runCtl(
  transport: Transport,
  argv: readonly string[],
  files: Readonly<Record<string, string>> = {},
  { mounted, path = "" }: { readonly mounted?: ReleaseConfig | undefined; readonly path?: string } = {},
): Promise<Ran> {
  return runLine(argv, files, {
    env: { PATH: path },
    connect: ({ namespace }) => ({
      client: new KubeClient({ transport, clock: systemClock }),
      clock: systemClock,
      namespace: namespace ?? "default",
      mounted,
      kubectlFlags: ["--context", "test"],
      [Symbol.dispose]: () => {},
    }),
  });
}
