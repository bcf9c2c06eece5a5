import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JsonObject, silentLogger, systemClock } from "#base";
import type { Ipam, PluginConfig } from "#cni";
import type { Pod } from "#kube";
import type { Plugin } from "#plugins";
import { buildShim } from "../../../shim/build.ts";
import { assertAnswer } from "../../cni/testing/answers.ts";
import { Calls, type CallsOptions } from "../calls/calls.ts";
import { Flights } from "../calls/flights.ts";
import { CniServer } from "../calls/server.ts";
import { executableNames, installExecutables } from "../node/install/executables.ts";
import { Chain } from "../sandboxes/chain.ts";
import { ForeignPlugins } from "../sandboxes/foreign.ts";
import { Records } from "../sandboxes/records.ts";
import { testPod } from "./api.ts";

/** For `script`: an ADD makes an interface, as far as its answer says, and all else succeeds. */
export const works = `[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.0.0","interfaces":[{"name":"'$CNI_IFNAME'","sandbox":"'$CNI_NETNS'"}]}'; exit 0`;

/** Where the namespace of the Pod is, unless a call says otherwise. */
export const podNetns = "/run/netns/pod";

/** The configuration that the runtime has for every Pod: the network `kube-system/main`. */
export const multusConfig = (more: JsonObject = {}) => ({
  cniVersion: "1.0.0",
  name: "multus-cni-network",
  type: "multus",
  clusterNetwork: "main",
  ...more,
});

/** Runs a program in the Pod's namespace, and returns what it prints. */
export function inPod(...argv: readonly [string, ...string[]]): string {
  return execFileSync("nsenter", [`--net=${podNetns}`, ...argv], { encoding: "utf8" });
}

/** Where Debian's and Ubuntu's package containernetworking-plugins has its executables. */
export const debianPlugins = "/usr/lib/cni";

interface TestRuntimeOptions {
  readonly plugins?: readonly Plugin<never>[];
  readonly ipamFor?: (config: PluginConfig) => Ipam | undefined;
  readonly more?: Partial<CallsOptions>;
}

export interface Answer {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Stdout parsed; undefined if there is none. */
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into it
  readonly json: any;
}

/** How a call differs from the usual one. */
export interface TestCall {
  readonly executable?: string;
  readonly config?: JsonObject | string;
  readonly container?: string;
  readonly ifName?: string;
  readonly netns?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Runs the shim with these in front of it: `nsenter`, `unshare`. */
  readonly wrapper?: readonly string[];
  /** Told of the process as soon as there is one. */
  readonly started?: (pid: number) => void;
}

/**
 * A container runtime before our executables: the real shim under each of our names, the real socket, and the agent's
 * handling of calls behind it with the plugins of the test. Networks and the Pod's annotations are what the test sets.
 */
export class TestRuntime implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "runtime-"));
  /** CNI_PATH: ours first, then the test's own, then Debian's. */
  readonly binDir = join(this.folder, "bin");
  readonly scripts = join(this.folder, "scripts");
  /** Configurations by `namespace/name`; one without any key makes a NAD that is empty. */
  readonly nads = new Map<string, JsonObject>();
  /** Annotations of NADs, where they have some. */
  readonly annotations = new Map<string, Readonly<Record<string, string>>>();
  readonly records = new Records(join(this.folder, "records"));
  readonly flights = new Flights({ max: 100 });
  readonly failures: unknown[] = [];
  devices: ReadonlyMap<string, readonly string[]> = new Map();
  networks = "";
  defaultNetwork = "";
  #server: CniServer | undefined;

  static async start({ plugins = [], ipamFor = () => undefined, more = {} }: TestRuntimeOptions = {}) {
    const runtime = new TestRuntime();
    mkdirSync(runtime.scripts);
    const shim = await buildShim(runtime.folder);
    const socket = join(runtime.folder, "cni.sock");
    installExecutables({ binDir: runtime.binDir, shim, socket, names: executableNames, manifest: { add: () => {} } });
    const calls = new Calls({
      chain: new Chain(plugins as readonly Plugin<unknown>[], new ForeignPlugins()),
      records: runtime.records,
      flights: runtime.flights,
      ipamFor,
      source: {
        nad: (namespace, name) => {
          const config = runtime.nads.get(`${namespace}/${name}`);
          const annotations = runtime.annotations.get(`${namespace}/${name}`) ?? {};
          return (
            config && {
              metadata: { namespace, name, annotations },
              spec: { config: Object.keys(config).length === 0 ? "" : JSON.stringify(config) },
            }
          );
        },
        directory: () => undefined,
        file: (path) => (existsSync(path) ? readFileSync(path, "utf8") : undefined),
      },
      nadsChanged: () => () => {},
      devicesOf: () => runtime.devices,
      knownPod: () => undefined,
      clock: systemClock,
      log: silentLogger,
      findPod: async () => runtime.pod(),
      added: () => {},
      addressed: () => {},
      failed: (_attachment, error) => void runtime.failures.push(error),
      removed: () => {},
      ...more,
    });
    runtime.#server = await CniServer.listen(socket, (call, context) => calls.handle(call, context), silentLogger);
    return runtime;
  }

  /** Makes or replaces the network `namespace/name`. */
  network(path: string, ...plugins: readonly JsonObject[]): void {
    this.nads.set(path, { cniVersion: "1.0.0", name: path.split("/")[1] ?? "", plugins });
  }

  pod(): Pod {
    const annotations = {
      ...(this.networks !== "" && { "k8s.v1.cni.cncf.io/networks": this.networks }),
      ...(this.defaultNetwork !== "" && { "v1.multus-cni.io/default-network": this.defaultNetwork }),
    };
    return testPod("a", { metadata: { annotations } });
  }

  /**
   * A plugin in the shell that is not ours: it knows VERSION, notes each call and what it got on stdin, and then does what
   * the script says.
   */
  script(name: string, text: string): void {
    const file = join(this.scripts, name);
    const lines = [
      "#!/bin/sh",
      "input=$(cat)",
      `[ "$CNI_COMMAND" = VERSION ] && exec echo '{"cniVersion":"1.1.0","supportedVersions":["0.3.1","1.0.0","1.1.0"]}'`,
      `echo "$CNI_COMMAND ${name} $CNI_IFNAME" >>${this.folder}/calls`,
      `echo "$CNI_ARGS" >>${this.folder}/args`,
      `printf '%s' "$input" >"${this.folder}/$CNI_COMMAND-${name}"`,
      text,
      "",
    ];
    writeFileSync(file, lines.join("\n"));
    chmodSync(file, 0o755);
  }

  /** Lines of the calls that the scripts had: verb, name, interface. */
  noted(of: "calls" | "args" = "calls"): readonly string[] {
    const file = join(this.folder, of);
    return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
  }

  /** What a script last got on stdin for a verb. */
  stdin(verb: string, name: string): JsonObject {
    return JSON.parse(readFileSync(join(this.folder, `${verb}-${name}`), "utf8"));
  }

  /** A {@link call} that must be answered with success. */
  async succeed(verb: string, more: TestCall = {}): Promise<Answer> {
    const answer = await this.call(verb, more);
    assert.equal(answer.code, 0, answer.stdout);
    return answer;
  }

  /** Calls an executable as containerd does. An env value of undefined takes the variable away. */
  call(verb: string, more: TestCall = {}): Promise<Answer> {
    const { executable = "multus", container = "c1", ifName = "eth0", netns = podNetns, wrapper = [] } = more;
    const config = more.config ?? multusConfig({ capabilities: { portMappings: true } });
    const env = {
      PATH: process.env["PATH"] ?? "",
      CNI_COMMAND: verb,
      CNI_CONTAINERID: container,
      CNI_NETNS: netns,
      CNI_IFNAME: ifName,
      CNI_PATH: [this.binDir, this.scripts, debianPlugins].join(":"),
      CNI_ARGS: `K8S_POD_NAME=a;K8S_POD_INFRA_CONTAINER_ID=${container};K8S_POD_UID=uid-a;IgnoreUnknown=1;K8S_POD_NAMESPACE=default`,
      ...more.env,
    };
    const [program = "", ...argv] = [...wrapper, join(this.binDir, executable)];
    const child = spawn(program, argv, {
      env: Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined)),
    });
    if (child.pid !== undefined) more.started?.(child.pid);
    child.stdin.on("error", () => {}); // It need not read all of it.
    const input = typeof config === "string" ? config : JSON.stringify(config);
    child.stdin.end(input);
    const texts = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        texts[name] += text;
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    child.on("error", reject);
    child.on("close", (code) => {
      try {
        // Without a command it says what it is; it may have been killed, and behind another program the answer is that one's.
        if (verb !== "" && code !== null && wrapper.length === 0)
          assertAnswer({ verb, stdin: input, exitCode: code, stdout: texts.stdout });
        resolve({ code, ...texts, json: texts.stdout.startsWith("{") ? JSON.parse(texts.stdout) : undefined });
      } catch (error) {
        reject(error);
      }
    });
    return promise;
  }

  /** The agent is gone. */
  async stop(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
