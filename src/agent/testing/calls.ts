import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "node:test";
import { never, type Signal, type Steps, silentLogger, systemClock } from "#base";
import { type Attachment, CniError, cniCodes, noSuchPlugin, type PluginConfig, type PluginOutput } from "#cni";
import type { Pod } from "#kube";
import type { Plugin } from "#plugins";
import { assertAnswer } from "../../cni/testing/answers.ts";
import { Calls } from "../calls/calls.ts";
import { Flights } from "../calls/flights.ts";
import type { CallContext } from "../calls/server.ts";
import { Chain } from "../sandboxes/chain.ts";
import { ForeignPlugins } from "../sandboxes/foreign.ts";
import type { AttachedDelegate } from "../sandboxes/recording.ts";
import { Records } from "../sandboxes/records.ts";
import { testPod } from "./api.ts";

// A handler of calls with two plugins that note what they are called for; made anew before each test of the file that imports it.

/** A plugin of ours that notes what it is called for; `acts` replaces what happens then. */
class FakePlugin implements Plugin<PluginConfig> {
  readonly type: string;
  readonly versions = ["1.0.0"];
  readonly #log: string[];
  readonly acts = new Map<string, (o: Signal) => Promise<void>>();

  constructor(type: string, log: string[]) {
    this.type = type;
    this.#log = log;
  }

  /** The Pod's interfaces by which each attachment was verified. */
  readonly fits: (readonly string[])[] = [];

  async verify(_config: PluginConfig, { ifName }: Attachment, interfaces: readonly string[]): Promise<void> {
    this.fits.push([ifName, ...interfaces]);
  }

  decode(config: PluginConfig): PluginConfig {
    if (config.raw["bad"] === true) throw new CniError(cniCodes.invalidConfig, "bad is not allowed");
    return config;
  }

  add(config: PluginConfig, attachment: Attachment, steps: Steps) {
    const undo = () => this.#act("undo", config, attachment, { signal: never });
    const beside = this.acts.get("beside");
    if (beside !== undefined) steps.beside("ofport", beside, { of: attachment.ifName });
    return steps.run(
      "link",
      async (o) => {
        await this.#act("add", config, attachment, o);
        const { interfaces = [], ips = [], routes = [] } = config.prevResult ?? {};
        return { interfaces: [...interfaces, { name: attachment.ifName, sandbox: attachment.netns }], ips, routes };
      },
      { undo },
    );
  }

  check(config: PluginConfig, attachment: Attachment, o: Signal): Promise<void> {
    return this.#act("check", config, attachment, o);
  }

  del(config: PluginConfig, attachment: Attachment, o: Signal): Promise<void> {
    return this.#act("del", config, attachment, o);
  }

  async #act(what: string, { name }: PluginConfig, { containerId, ifName }: Attachment, o: Signal): Promise<void> {
    this.#log.push(`${what} ${this.type}/${name} ${containerId}/${ifName}`);
    await this.acts.get(what)?.(o);
  }
}

export let folder: string;
export let log: string[];
export let ovs: FakePlugin;
export let coordinator: FakePlugin;
export let records: Records;
export let flights: Flights;
export let calls: Calls;
export let told: { added: (readonly AttachedDelegate[])[]; failed: unknown[]; removed: Attachment[] };
/** What the agent is told of Pods. */
export const pods: { known: Pod | undefined; find: () => Promise<Pod> } = {
  known: undefined,
  find: async () => testPod("a"),
};

/** A network configuration with a plugin of each type, in this order. */
export const network = (name: string, ...types: readonly string[]) => ({
  cniVersion: "1.0.0",
  name,
  plugins: types.map((type) => ({ type })),
});
const givenNads: readonly (readonly [string, object])[] = [
  ["kube-system/default-net", network("default-net", "ovs", "coordinator")],
  ["default/second", network("second", "ovs")],
  ["default/bad", { ...network("bad"), plugins: [{ type: "ovs", bad: true }] }],
  ["default/foreign", network("foreign", "tuning")],
];
const nads = new Map<string, object>();
/** Told of new networks; empty if no call waits for one. */
export const nadListeners = new Set<() => void>();

/** Adds a network, called `namespace/name`, as the watch would. */
export function addNad(key: string, config: object): void {
  nads.set(key, config);
  for (const listener of nadListeners) listener();
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "calls-"));
  log = [];
  nads.clear();
  for (const [key, config] of givenNads) nads.set(key, config);
  ovs = new FakePlugin("ovs", log);
  coordinator = new FakePlugin("coordinator", log);
  records = new Records(join(folder, "records"));
  flights = new Flights({ max: 10 });
  // What follows an answer may come when the next test has begun.
  const mine: typeof told = { added: [], failed: [], removed: [] };
  told = mine;
  Object.assign(pods, { known: undefined, find: async () => testPod("a") });
  calls = new Calls({
    chain: new Chain([ovs, coordinator] as readonly Plugin<unknown>[], new ForeignPlugins()),
    records,
    flights,
    source: {
      nad: (namespace, name) => {
        const config = nads.get(`${namespace}/${name}`);
        return config && { metadata: { namespace, name }, spec: { config: JSON.stringify(config) } };
      },
      directory: () => undefined,
      file: () => undefined,
    },
    nadsChanged: (listener) => {
      nadListeners.add(listener);
      return () => nadListeners.delete(listener);
    },
    ipamFor: () => undefined,
    devicesOf: () => new Map([["vendor/nic", ["0000:02", "0000:01"]]]),
    knownPod: () => pods.known,
    clock: systemClock,
    log: silentLogger,
    findPod: () => pods.find(),
    added: (attached) => void mine.added.push(attached),
    addressed: () => {},
    failed: (_attachment, error) => void mine.failed.push(error),
    removed: (attachment) => void mine.removed.push(attachment),
  });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What a plugin that is not ours leaves behind. */
export const ended = (stdout: object, exitCode = 0, stderr = ""): PluginOutput => ({
  exitCode,
  stdout: Buffer.from(JSON.stringify(stdout)),
  stderr: Buffer.from(stderr),
});
export const context: CallContext = { exec: async () => ended({}, 127, noSuchPlugin), signal: never };
export const multusConf = {
  cniVersion: "1.0.0",
  name: "multus-cni-network",
  type: "multus",
  clusterNetwork: "default-net",
};

/** How a call differs from the usual one: ADD of eth0 for Pod `default/a` by `multus`. */
export interface More {
  readonly container?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly executable?: string;
  readonly context?: CallContext;
}

/** Sends one call, as the shim would, and returns its output. */
export async function send(verb: string, more: More = {}): Promise<PluginOutput> {
  const { container = "c1", env = {}, stdin = JSON.stringify(multusConf), executable = "multus" } = more;
  const variables = {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: container,
    CNI_IFNAME: "eth0",
    CNI_NETNS: "/proc/self/ns/net",
    CNI_NETNS_OVERRIDE: "1",
    CNI_PATH: folder,
    CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=a;K8S_POD_UID=uid-a",
    ...env,
  };
  const output = await calls.handle({ executable, env: variables, stdin: Buffer.from(stdin) }, more.context ?? context);
  assertAnswer({ verb, stdin, exitCode: output.exitCode, stdout: String(output.stdout) });
  return output;
}

/** Sends a call that must succeed; returns its result. */
export async function succeed(verb: string, more: More = {}): Promise<unknown> {
  const { exitCode, stdout } = await send(verb, more);
  assert.equal(exitCode, 0, String(stdout));
  return stdout.length === 0 ? undefined : JSON.parse(String(stdout));
}

interface CniFailure {
  readonly code: number;
  readonly msg: string;
  readonly details?: string;
}

/** Sends a call that must fail; returns its CNI error. */
export async function fail(verb: string, more: More = {}): Promise<CniFailure> {
  const { exitCode, stdout } = await send(verb, more);
  assert.notEqual(exitCode, 0);
  return JSON.parse(String(stdout));
}

/** The Pod asks for these networks from now on. */
export const withNetworks = (networks: string) => {
  const annotations = { "k8s.v1.cni.cncf.io/networks": networks };
  pods.find = async () => testPod("a", { metadata: { annotations } });
};
/** Lets all that is ready run. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));
