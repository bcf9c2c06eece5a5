import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The linter's own executable: its platform package, without the JavaScript wrapper around it. */
const biome = `${root}node_modules/@biomejs/cli-linux-${process.arch}/biome`;

const checks: readonly (readonly [string, readonly string[]])[] = [
  ["types", ["tsc", "-p", root]],
  ["lint", [biome, "check", "--error-on-warnings", root]],
];

/** Types and lint, one after the other, each printed with its outcome. True when all are clean. */
export async function runChecks({ signal }: { readonly signal?: AbortSignal } = {}): Promise<boolean> {
  const check = ([name, [program = "", ...argv]]: (typeof checks)[number]) =>
    new Promise<boolean>((resolve) => {
      const child = execFile(program, argv, { cwd: root, maxBuffer: 2 ** 26, signal }, (error, stdout, stderr) => {
        console.log(error === null ? `✔ ${name}` : `✖ ${name}: ${error.message.split("\n", 1)[0]}\n${stdout}${stderr}`);
        resolve(error === null);
      });
      // The linter reads an open standard input to its end.
      child.stdin?.end();
    });
  let clean = true;
  for (const one of checks) clean = (await check(one)) && clean;
  return clean;
}
