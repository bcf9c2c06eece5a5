import { randomInt } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, SpiderError } from "#base";
import { run } from "../topology/index.ts";

interface CniRuntimeOptions {
  /** @default "/etc/cni/net.d" */
  readonly confDir?: string;
  /** @default "/opt/cni/bin" */
  readonly binDir?: string;
  /** Where results are kept for DEL. @default "/var/lib/cni" */
  readonly cacheDir?: string;
  /** How a plugin is executed. @default `run` of the topology */
  readonly execute?: typeof run;
}

/** One Pod's network, as a runtime names it. */
export interface Sandbox {
  /** 64 hexadecimal digits. */
  readonly containerId: string;
  /** Path of the network namespace; empty at a DEL whose namespace is lost. */
  readonly netns: string;
  readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string };
  /** By capability name; a plugin gets those that it declares. */
  readonly capabilityArgs?: Readonly<Record<string, unknown>>;
}

/** One execution of a plugin, for measurements. */
interface CniCall {
  readonly verb: "ADD" | "DEL" | "STATUS";
  readonly type: string;
  readonly durationMs: number;
}

/** The result of a sandbox's ADD. */
export interface SandboxResult {
  /** Addresses of `eth0` without their prefix lengths, in the result's order. */
  readonly ips: readonly string[];
  readonly calls: readonly CniCall[];
}

/** A JSON object of the protocol. Only the fields that a runtime looks at are named. */
interface CniJson {
  readonly cniVersion?: string;
  readonly name?: string;
  readonly type?: string;
  readonly plugins?: readonly CniJson[];
  readonly capabilities?: Readonly<Record<string, boolean>>;
  readonly interfaces?: readonly { readonly name: string; readonly sandbox?: string }[];
  readonly ips?: readonly { readonly address: string; readonly interface?: number }[];
  readonly [field: string]: unknown;
}

interface NetworkList {
  readonly name: string;
  readonly cniVersion: string;
  readonly plugins: readonly CniJson[];
}

const ifName = "eth0";

/** Calls CNI plugins as containerd does: the first configuration by file name, its plugins in order, DEL in reverse. */
export class CniRuntime {
  readonly #confDir: string;
  readonly #binDir: string;
  readonly #cacheDir: string;
  readonly #execute: typeof run;

  constructor({
    confDir = "/etc/cni/net.d",
    binDir = "/opt/cni/bin",
    cacheDir = "/var/lib/cni",
    execute = run,
  }: CniRuntimeOptions = {}) {
    this.#confDir = confDir;
    this.#binDir = binDir;
    this.#cacheDir = cacheDir;
    this.#execute = execute;
  }

  /** Why no Pod can get a network now: no configuration, or a plugin's STATUS (from 1.1.0) says so. Undefined: they can. */
  async notReady(): Promise<string | undefined> {
    try {
      const network = await this.#network();
      if (!hasStatus(network.cniVersion)) return undefined;
      for (const plugin of network.plugins) await this.#call("STATUS", plugin, requestOf(network, plugin), {});
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /**
   * Runs ADD of every plugin. Throws SpiderError LAB_CNI in libcni's words; nothing is undone then: the caller calls
   * {@link del}, as runtimes do.
   */
  async add(sandbox: Sandbox): Promise<SandboxResult> {
    const network = await this.#network();
    const calls: CniCall[] = [];
    let result: CniJson | undefined;
    for (const plugin of network.plugins) {
      const request = { ...requestOf(network, plugin, sandbox), ...(result && { prevResult: result }) };
      const { stdout, call } = await this.#call("ADD", plugin, request, environment(sandbox));
      calls.push(call);
      result = parseJson(stdout, `the result of plugin type="${plugin.type}"`);
    }
    if (result === undefined) throw failure(`network ${network.name} has no plugins`);
    const ips = addressesOf(result);
    await mkdir(join(this.#cacheDir, "results"), { recursive: true, mode: 0o700 });
    await writeFile(this.#resultFile(network, sandbox), JSON.stringify(result), { mode: 0o600 });
    if (ips.length === 0) throw failure(`failed to find network info for sandbox "${sandbox.containerId}"`);
    return { ips, calls };
  }

  /** Runs DEL of every plugin, the last first, with ADD's result if it is known. Throws LAB_CNI at the first failure. */
  async del(sandbox: Sandbox): Promise<readonly CniCall[]> {
    const network = await this.#network();
    const calls: CniCall[] = [];
    const file = this.#resultFile(network, sandbox);
    const known = await readFile(file, "utf8").catch(() => undefined);
    const prevResult = known === undefined ? {} : { prevResult: parseJson(known, file) };
    for (const plugin of network.plugins.toReversed()) {
      const request = { ...requestOf(network, plugin, sandbox), ...prevResult };
      calls.push((await this.#call("DEL", plugin, request, environment(sandbox))).call);
    }
    await rm(file, { force: true });
    return calls;
  }

  #resultFile(network: NetworkList, { containerId }: Sandbox): string {
    return join(this.#cacheDir, "results", `${network.name}-${containerId}-${ifName}`);
  }

  async #network(): Promise<NetworkList> {
    const names = await readdir(this.#confDir).catch(() => []);
    const [first] = names.filter((name) => /\.(conf|conflist|json)$/.test(name)).sort();
    if (first === undefined) throw failure("cni plugin not initialized");
    const file = join(this.#confDir, first);
    const parsed = parseJson(await readFile(file, "utf8"), file);
    const { name = "", cniVersion = "0.1.0", plugins = [parsed] } = parsed;
    return { name, cniVersion, plugins };
  }

  async #call(
    verb: CniCall["verb"],
    plugin: CniJson,
    request: CniJson,
    env: Readonly<Record<string, string>>,
  ): Promise<{ readonly stdout: string; readonly call: CniCall }> {
    const { type = "" } = plugin;
    const failed = (why: string) =>
      failure(
        `plugin type="${type}" name="${request.name}" failed (${verb === "DEL" ? "delete" : verb.toLowerCase()}): ${why}`,
      );
    const path = join(this.#binDir, type);
    if (!(await stat(path).catch(() => undefined))?.isFile())
      throw failed(`failed to find plugin "${type}" in path [${this.#binDir}]`);
    const variables = { ...env, CNI_COMMAND: verb, CNI_PATH: this.#binDir };
    const startMs = performance.now();
    try {
      const stdout = await this.#execute([path], {
        input: JSON.stringify(request),
        env: { ...process.env, ...variables },
      });
      return { stdout, call: { verb, type, durationMs: performance.now() - startMs } };
    } catch (error) {
      throw failed(error instanceof SpiderError ? diagnosis(error) : String(error));
    }
  }
}

function requestOf(network: NetworkList, plugin: CniJson, sandbox?: Sandbox): CniJson {
  const { name, cniVersion } = network;
  const offered = Object.entries(sandbox?.capabilityArgs ?? {});
  const accepted = offered.filter(([capability]) => plugin.capabilities?.[capability] === true);
  return { ...plugin, name, cniVersion, ...(accepted.length > 0 && { runtimeConfig: Object.fromEntries(accepted) }) };
}

/** containerd keeps these in a Go map: their order differs from call to call, and so it does here. */
function environment({ containerId, netns, pod }: Sandbox): Readonly<Record<string, string>> {
  const args = [
    "IgnoreUnknown=1",
    `K8S_POD_NAMESPACE=${pod.namespace}`,
    `K8S_POD_NAME=${pod.name}`,
    `K8S_POD_INFRA_CONTAINER_ID=${containerId}`,
    `K8S_POD_UID=${pod.uid}`,
  ];
  const turned = randomInt(args.length);
  const shuffled = [...args.slice(turned), ...args.slice(0, turned)];
  return { CNI_CONTAINERID: containerId, CNI_NETNS: netns, CNI_IFNAME: ifName, CNI_ARGS: shuffled.join(";") };
}

/** The error that libcni makes of a failed plugin. */
function diagnosis({ details, message, cause }: SpiderError): string {
  const { stdout = "", stderr = "", status } = details;
  if (status === undefined) return `${message}${codeOf(cause) === undefined ? "" : `: ${codeOf(cause)}`}`;
  if (stdout === "")
    return stderr === ""
      ? `netplugin failed with no error message: exit status ${status}`
      : `netplugin failed: ${JSON.stringify(stderr)}: exit status ${status}`;
  try {
    const { msg = "", details: more = "" } = JSON.parse(String(stdout)) as { msg?: string; details?: string };
    return more === "" ? msg : `${msg}; ${more}`;
  } catch {
    return `netplugin failed but error parsing its diagnostic message ${JSON.stringify(stdout)}`;
  }
}

function addressesOf({ ips = [], interfaces = [] }: CniJson): readonly string[] {
  return ips
    .filter(({ interface: index }) => index === undefined || interfaces[index]?.name === ifName)
    .map(({ address }) => address.replace(/\/.*$/, ""));
}

/** From version 1.1.0 on there is STATUS. */
function hasStatus(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 1 || (major === 1 && minor >= 1);
}

function parseJson(text: string, what: string): CniJson {
  try {
    return JSON.parse(text) as CniJson;
  } catch (cause) {
    throw new SpiderError("LAB_CNI", `${what} is not JSON`, { cause });
  }
}

function failure(message: string): SpiderError {
  return new SpiderError("LAB_CNI", message);
}
