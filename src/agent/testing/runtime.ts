import { spawn } from "node:child_process";
import { linkSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, systemClock } from "#base";
import type { Ipam, JsonObject, PluginConfig } from "#cni";
import type { Pod } from "#kube";
import type { Plugin } from "#plugins";
import { buildShim } from "../../../shim/build.ts";
import { Calls, type CallsOptions } from "../calls.ts";
import { Chain } from "../chain.ts";
import { Flights } from "../flights.ts";
import { ForeignPlugins } from "../foreign.ts";
import { executableNames, installExecutables } from "../install/executables.ts";
import { Records } from "../records.ts";
import { CniServer } from "../server.ts";
import { testPod } from "./api.ts";

/** Where Debian's and Ubuntu's package containernetworking-plugins has its executables. */
export const debianPlugins = "/usr/lib/cni";

export interface TestRuntimeOptions {
  readonly plugins?: readonly Plugin<never>[];
  readonly ipamFor?: (config: PluginConfig) => Ipam | undefined;
  readonly more?: Partial<CallsOptions>;
}

export interface Answer {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Stdout parsed; undefined where there is none. */
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into it
  readonly json: any;
}

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
  readonly nads = new Map<string, JsonObject>();
  readonly records = new Records(join(this.folder, "records"));
  readonly flights = new Flights({ max: 100 });
  readonly failures: unknown[] = [];
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
          return config && { metadata: { namespace, name }, spec: { config: JSON.stringify(config) } };
        },
        directory: () => undefined,
        file: () => undefined,
      },
      clock: systemClock,
      log: silentLogger,
      findPod: async () => runtime.pod(),
      added: () => {},
      failed: (_attachment, error) => void runtime.failures.push(error),
      removed: () => {},
      ...more,
    });
    runtime.#server = await CniServer.listen(socket, (call, context) => calls.handle(call, context), silentLogger);
    return runtime;
  }

  pod(): Pod {
    const annotations = {
      ...(this.networks === "" ? {} : { "k8s.v1.cni.cncf.io/networks": this.networks }),
      ...(this.defaultNetwork === "" ? {} : { "v1.multus-cni.io/default-network": this.defaultNetwork }),
    };
    return testPod("a", { metadata: { annotations } });
  }

  /** Makes a further executable of the shim, by another name than ours. */
  alias(name: string): void {
    linkSync(join(this.binDir, executableNames[0]), join(this.binDir, name));
  }

  /** Calls an executable as containerd does. An env value of undefined takes the variable away. */
  call(verb: string, more: TestCall = {}): Promise<Answer> {
    const { executable = "multus", container = "c1", ifName = "eth0", netns = "/run/netns/pod", wrapper = [] } = more;
    const config = more.config ?? {
      cniVersion: "1.0.0",
      name: "multus-cni-network",
      type: "multus",
      clusterNetwork: "main",
      capabilities: { portMappings: true },
    };
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
    child.stdin.end(typeof config === "string" ? config : JSON.stringify(config));
    const texts = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        texts[name] += text;
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ code, ...texts, json: texts.stdout.startsWith("{") ? JSON.parse(texts.stdout) : undefined });
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
