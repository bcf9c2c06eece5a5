import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it, mock } from "node:test";
import { never, type Signal, SpiderError, type Steps, silentLogger, systemClock } from "#base";
import { type Attachment, CniError, cniCodes, noSuchPlugin, type PluginConfig, type PluginOutput } from "#cni";
import type { Pod } from "#kube";
import type { Plugin } from "#plugins";
import { Calls } from "./calls.ts";
import { Chain } from "./chain.ts";
import { Flights } from "./flights.ts";
import { ForeignPlugins } from "./foreign.ts";
import type { AttachedDelegate } from "./recording.ts";
import { Records } from "./records.ts";
import type { CallContext } from "./server.ts";
import { testPod } from "./testing/api.ts";

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

  decode(config: PluginConfig): PluginConfig {
    if (config.raw["bad"] === true) throw new CniError(cniCodes.invalidConfig, "bad is not allowed");
    return config;
  }

  add(config: PluginConfig, attachment: Attachment, steps: Steps) {
    const undo = () => this.#act("undo", config, attachment, { signal: never });
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

let folder: string;
let log: string[];
let ovs: FakePlugin;
let coordinator: FakePlugin;
let records: Records;
let flights: Flights;
let calls: Calls;
let told: { added: (readonly AttachedDelegate[])[]; failed: unknown[]; removed: Attachment[] };
let known: Pod | undefined;
let findPod: () => Promise<ReturnType<typeof testPod>>;

const network = (name: string, ...types: readonly string[]) => ({
  cniVersion: "1.0.0",
  name,
  plugins: types.map((type) => ({ type })),
});
const nads = new Map<string, object>([
  ["kube-system/default-net", network("default-net", "ovs", "coordinator")],
  ["default/second", network("second", "ovs")],
  ["default/bad", { ...network("bad"), plugins: [{ type: "ovs", bad: true }] }],
  ["default/foreign", network("foreign", "tuning")],
]);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "calls-"));
  log = [];
  ovs = new FakePlugin("ovs", log);
  coordinator = new FakePlugin("coordinator", log);
  records = new Records(join(folder, "records"));
  flights = new Flights({ max: 10 });
  told = { added: [], failed: [], removed: [] };
  findPod = async () => testPod("a");
  known = undefined;
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
    ipamFor: () => undefined,
    devicesOf: () => new Map([["vendor/nic", ["0000:02", "0000:01"]]]),
    knownPod: () => known,
    clock: systemClock,
    log: silentLogger,
    findPod: () => findPod(),
    added: (attached) => void told.added.push(attached),
    failed: (_attachment, error) => void told.failed.push(error),
    removed: (attachment) => void told.removed.push(attachment),
  });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What a plugin that is not ours leaves behind. */
const ended = (stdout: object, exitCode = 0, stderr = ""): PluginOutput => ({
  exitCode,
  stdout: Buffer.from(JSON.stringify(stdout)),
  stderr: Buffer.from(stderr),
});
const context: CallContext = { exec: async () => ended({}, 127, noSuchPlugin), signal: never };
const multusConf = { cniVersion: "1.0.0", name: "multus-cni-network", type: "multus", clusterNetwork: "default-net" };

interface More {
  readonly container?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly executable?: string;
  readonly context?: CallContext;
}

function send(verb: string, more: More = {}): Promise<PluginOutput> {
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
  return calls.handle({ executable, env: variables, stdin: Buffer.from(stdin) }, more.context ?? context);
}

async function succeed(verb: string, more: More = {}): Promise<unknown> {
  const { exitCode, stdout } = await send(verb, more);
  assert.equal(exitCode, 0, String(stdout));
  return stdout.length === 0 ? undefined : JSON.parse(String(stdout));
}

async function fail(verb: string, more: More = {}): Promise<{ readonly code: number; readonly msg: string }> {
  const { exitCode, stdout } = await send(verb, more);
  assert.notEqual(exitCode, 0);
  return JSON.parse(String(stdout));
}

const withNetworks = (networks: string) => {
  const annotations = { "k8s.v1.cni.cncf.io/networks": networks };
  findPod = async () => testPod("a", { metadata: { annotations } });
};
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("ADD", () => {
  it("runs each network's plugins in order, answers with the first network's result and records all", async () => {
    withNetworks("second");
    const answer = await succeed("ADD");
    assert.deepEqual(log, [
      "add ovs/default-net c1/eth0",
      "add coordinator/default-net c1/eth0",
      "add ovs/second c1/net1",
    ]);
    assert.equal((answer as { interfaces: unknown[] }).interfaces.length, 2);
    const record = records.read({ containerId: "c1", ifName: "eth0" });
    assert.deepEqual(
      [record?.complete, record?.networks.map(({ name }) => name)],
      [true, ["kube-system/default-net", "default/second"]],
    );
    await turn();
    assert.equal(told.added[0]?.length, 2);
  });

  it("undoes everything when one plugin fails, newest first, and leaves no record", async () => {
    withNetworks("second");
    let adds = 0;
    ovs.acts.set("add", async () => {
      adds += 1;
      if (adds === 2) throw new SpiderError("OVS_BRIDGE_UNKNOWN", "there is no bridge br9");
    });
    const { msg } = await fail("ADD");
    assert.match(msg, /there is no bridge br9/);
    assert.deepEqual(log.slice(3), [
      "undo ovs/second c1/net1",
      "undo coordinator/default-net c1/eth0",
      "undo ovs/default-net c1/eth0",
    ]);
    assert.deepEqual([records.list(), told.failed.length, told.added], [[], 1, []]);
  });

  it("does nothing at all when one configuration is wrong", async () => {
    withNetworks("second,bad");
    assert.deepEqual([(await fail("ADD")).code, log, records.list()], [cniCodes.invalidConfig, [], []]);
  });

  it("does nothing at all when one executable is missing", async () => {
    withNetworks("foreign");
    assert.match((await fail("ADD")).msg, /failed to find plugin "tuning"/);
    assert.deepEqual([log, records.list()], [[], []]);
  });

  it("runs foreign plugins through the caller, with the delegate's environment, after having asked for their versions", async () => {
    withNetworks("foreign");
    const exec: CallContext["exec"] = async ({ argv0, env, path }) => {
      log.push(`exec ${path === folder} ${argv0} ${env["CNI_COMMAND"]} ${env["CNI_IFNAME"]}`);
      return ended({ cniVersion: "1.0.0" });
    };
    await succeed("ADD", { context: { exec, signal: never } });
    assert.deepEqual(
      log.filter((line) => line.startsWith("exec")),
      ["exec true tuning VERSION ", "exec true tuning ADD net1"],
    );
  });

  it("does nothing at all when a foreign plugin does not know the version", async () => {
    withNetworks("foreign");
    const exec: CallContext["exec"] = async () => ended({ cniVersion: "0.4.0", supportedVersions: ["0.4.0"] });
    const { code, msg } = await fail("ADD", { context: { exec, signal: never } });
    assert.deepEqual([code, log, records.list()], [cniCodes.incompatibleVersion, [], []]);
    assert.match(msg, /"tuning" does not know the cniVersion/);
  });

  it("keeps the record for the runtime's DEL where a foreign plugin's ADD could not be undone", async () => {
    withNetworks("foreign");
    const exec: CallContext["exec"] = async ({ env }) => {
      if (env["CNI_COMMAND"] === "VERSION") return ended({});
      throw new SpiderError("SHIM_GONE", "the shim is gone");
    };
    await fail("ADD", { context: { exec, signal: never } });
    assert.deepEqual(
      records.list().map(({ complete, networks }) => [complete, networks.length]),
      [[false, 2]],
    );
    const outputs: string[] = [];
    const later: CallContext["exec"] = async ({ argv0, env }) => {
      outputs.push(`${argv0} ${env["CNI_COMMAND"]} ${env["CNI_IFNAME"]}`);
      return ended({});
    };
    await succeed("DEL", { context: { exec: later, signal: never } });
    assert.deepEqual([outputs, records.list()], [["tuning DEL net1"], []]);
  });

  it("gives a foreign plugin no more time than the call has", async () => {
    withNetworks("foreign");
    const limits: number[] = [];
    const exec: CallContext["exec"] = async ({ timeoutMs }) => {
      limits.push(timeoutMs);
      return ended({ cniVersion: "1.0.0" });
    };
    await succeed("ADD", { context: { exec, signal: never } });
    assert.ok(limits.length === 2 && limits.every((ms) => ms > 0 && ms <= 30_000), String(limits));
  });

  it("takes a call that one of its plugins makes for the same sandbox as part of itself", async () => {
    withNetworks("foreign");
    const inner = JSON.stringify({ cniVersion: "1.0.0", name: "inner", type: "ovs" });
    const exec: CallContext["exec"] = async ({ env }) => {
      if (env["CNI_COMMAND"] === "ADD") {
        await succeed("ADD", { executable: "ovs", stdin: inner, env: { ...env, CNI_NETNS_OVERRIDE: "1" } });
      }
      return ended({ cniVersion: "1.0.0" });
    };
    await succeed("ADD", { context: { exec, signal: never } });
    assert.ok(log.includes("add ovs/inner c1/net1"));
    assert.deepEqual(
      records.list().map(({ plugin }) => plugin),
      [undefined, "ovs"],
    );
  });

  it("fails with the sentence about the Pod, and touches nothing, where there is none", async () => {
    findPod = () => Promise.reject(new SpiderError("POD_DEAD", "dead Pod default/a"));
    assert.match((await fail("ADD")).msg, /dead Pod default\/a/);
    assert.deepEqual([log, records.list()], [[], []]);
  });

  it("refuses the host's own namespace", async () => {
    assert.equal((await fail("ADD", { env: { CNI_NETNS_OVERRIDE: "" } })).code, cniCodes.invalidNetns);
    assert.equal((await fail("ADD", { env: { CNI_NETNS: "/no/such" } })).code, cniCodes.invalidNetns);
    assert.deepEqual(log, []);
  });

  it("fails with 11 at its deadline, and undoes", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      const started = Promise.withResolvers<void>();
      ovs.acts.set("add", ({ signal }) => {
        started.resolve();
        return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      });
      const failing = fail("ADD");
      await started.promise;
      mock.timers.tick(30_000);
      assert.deepEqual(await failing.then(({ code, msg }) => [code, /ADD was not done within 30 s/.test(msg)]), [
        cniCodes.tryAgain,
        true,
      ]);
      assert.equal(log.at(-1), "undo ovs/default-net c1/eth0");
    } finally {
      mock.timers.reset();
    }
  });

  it("is undone when the runtime gives it up", async () => {
    const gone = new AbortController();
    ovs.acts.set("add", async ({ signal }) => {
      gone.abort(new SpiderError("CALLER_GONE", "the runtime gave the call up"));
      signal.throwIfAborted();
    });
    await fail("ADD", { context: { ...context, signal: gone.signal } });
    assert.deepEqual([log.at(-1), records.list()], ["undo ovs/default-net c1/eth0", []]);
  });

  it("works for one plugin of ours that another meta-plugin executes", async () => {
    const conf = { cniVersion: "0.3.1", name: "direct", type: "ovs" };
    const answer = await succeed("ADD", { executable: "ovs", stdin: JSON.stringify(conf) });
    assert.deepEqual([log, (answer as { cniVersion: string }).cniVersion], [["add ovs/direct c1/eth0"], "0.3.1"]);
  });
});

describe("calls of one sandbox and of many", () => {
  it("take turns within a sandbox and overlap between sandboxes", async () => {
    const gate = Promise.withResolvers<void>();
    ovs.acts.set("add", () => gate.promise);
    const running = [send("ADD"), send("DEL"), send("ADD", { container: "c2" })];
    while (log.length < 2) await turn();
    assert.deepEqual(log, ["add ovs/default-net c1/eth0", "add ovs/default-net c2/eth0"]);
    gate.resolve();
    await Promise.all(running);
    assert.deepEqual(
      log.filter((line) => line.includes(" c1/")),
      [
        "add ovs/default-net c1/eth0",
        "add coordinator/default-net c1/eth0",
        "del coordinator/default-net c1/eth0",
        "del ovs/default-net c1/eth0",
      ],
    );
  });

  it("are refused, not kept, when too many wait", async () => {
    const gate = Promise.withResolvers<void>();
    findPod = async () => {
      await gate.promise;
      throw new SpiderError("POD_NOT_FOUND", "no such Pod");
    };
    const waiting = Array.from({ length: 1_256 }, (_, at) => send("ADD", { container: `w${at}` }));
    assert.match((await fail("ADD", { container: "last" })).msg, /256 calls are under way and 1000 wait already/);
    gate.resolve();
    const outputs = await Promise.all(waiting);
    assert.ok(outputs.every(({ stdout }) => String(stdout).includes("no such Pod")));
  });
});

describe("DEL", () => {
  it("uses the configuration of the ADD, backwards, whatever has become of it", async () => {
    withNetworks("second");
    await succeed("ADD");
    log.length = 0;
    await succeed("DEL", { stdin: JSON.stringify({ ...multusConf, clusterNetwork: "gone" }), env: { CNI_NETNS: "" } });
    assert.deepEqual(log, [
      "del ovs/second c1/net1",
      "del coordinator/default-net c1/eth0",
      "del ovs/default-net c1/eth0",
    ]);
    assert.deepEqual([records.list(), told.removed.map(({ pod }) => pod?.name)], [[], ["a"]]);
  });

  it("succeeds twice, and without any ADD", async () => {
    await succeed("ADD");
    await succeed("DEL");
    await succeed("DEL");
    await succeed("DEL", { container: "never" });
    assert.equal(log.filter((line) => line.startsWith("del")).length, 2);
  });

  it("cleans up by its own configuration where a plugin of ours has no record", async () => {
    const conf = { cniVersion: "1.0.0", name: "direct", type: "ovs" };
    await succeed("DEL", { executable: "ovs", stdin: JSON.stringify(conf) });
    assert.deepEqual(log, ["del ovs/direct c1/eth0"]);
  });

  it("cleans up what a Pod's annotations name, where another meta-plugin made the sandbox; what is unknown is success", async () => {
    known = testPod("a", { metadata: { annotations: { "k8s.v1.cni.cncf.io/networks": "second" } } });
    await succeed("DEL");
    assert.deepEqual(log, [
      "del ovs/second c1/net1",
      "del coordinator/default-net c1/eth0",
      "del ovs/default-net c1/eth0",
    ]);
    known = testPod("a", { metadata: { annotations: { "k8s.v1.cni.cncf.io/networks": "gone" } } });
    await succeed("DEL");
    known = testPod("a", { metadata: { uid: "another" } });
    await succeed("DEL");
    assert.equal(log.length, 3);
  });

  it("succeeds without a record, even if a plugin that is named is not there", async () => {
    known = testPod("a", { metadata: { annotations: { "k8s.v1.cni.cncf.io/networks": "foreign" } } });
    await succeed("DEL");
    assert.deepEqual(log, ["del coordinator/default-net c1/eth0", "del ovs/default-net c1/eth0"]);
  });

  it("tries every plugin, reports the first failure, and keeps the record for the next DEL", async () => {
    await succeed("ADD");
    coordinator.acts.set("del", () => Promise.reject(new SpiderError("BUSY", "busy just now")));
    assert.match((await fail("DEL")).msg, /busy just now/);
    assert.deepEqual([log.at(-1), records.list().length], ["del ovs/default-net c1/eth0", 1]);
    coordinator.acts.clear();
    await succeed("DEL");
    assert.deepEqual(records.list(), []);
  });

  it("goes on when the runtime has given it up", async () => {
    await succeed("ADD");
    await succeed("DEL", { context: { ...context, signal: AbortSignal.abort(new Error("gone")) } });
    assert.deepEqual(records.list(), []);
  });
});

describe("CHECK", () => {
  it("asks every plugin with the result of ADD, and passes on what it found", async () => {
    await succeed("ADD");
    await succeed("CHECK");
    assert.deepEqual(log.slice(2), ["check ovs/default-net c1/eth0", "check coordinator/default-net c1/eth0"]);
    ovs.acts.set("check", () => Promise.reject(new CniError(cniCodes.failed, "the port is gone")));
    assert.match((await fail("CHECK")).msg, /the port is gone/);
  });

  it("knows the plugins of one container apart that another meta-plugin calls one by one", async () => {
    const stdin = (type: string) => JSON.stringify({ cniVersion: "1.0.0", name: "chain", type });
    for (const type of ["ovs", "coordinator"]) await succeed("ADD", { executable: type, stdin: stdin(type) });
    log.length = 0;
    for (const type of ["ovs", "coordinator"]) await succeed("CHECK", { executable: type, stdin: stdin(type) });
    for (const type of ["coordinator", "ovs"]) await succeed("DEL", { executable: type, stdin: stdin(type) });
    assert.deepEqual(log, [
      "check ovs/chain c1/eth0",
      "check coordinator/chain c1/eth0",
      "del coordinator/chain c1/eth0",
      "del ovs/chain c1/eth0",
    ]);
    assert.deepEqual(records.list(), []);
  });

  it("does not know a container that was never added", async () => {
    assert.equal((await fail("CHECK")).code, cniCodes.unknownContainer);
  });
});

describe("GC", () => {
  it("takes down what the runtime does not know, also of an ADD that was cut off, and nothing that is at work", async () => {
    const config = { ...multusConf, cniVersion: "1.1.0" };
    withNetworks("foreign");
    const cutOff: CallContext["exec"] = async ({ env }) => {
      if (env["CNI_COMMAND"] === "VERSION") return ended({});
      throw new SpiderError("SHIM_GONE", "the shim is gone");
    };
    await fail("ADD", { container: "cut-off", context: { exec: cutOff, signal: never } });
    withNetworks("");
    await succeed("ADD", { container: "kept" });
    const gate = Promise.withResolvers<void>();
    coordinator.acts.set("add", () => gate.promise);
    const atWork = send("ADD", { container: "at-work" });
    for (let turns = 0; records.list().length < 3 && turns < 1_000; turns++) await turn();
    const valid = { "cni.dev/valid-attachments": [{ containerID: "kept", ifname: "eth0" }] };
    const exec: CallContext["exec"] = async () => ended({});
    await succeed("GC", { stdin: JSON.stringify({ ...config, ...valid }), context: { exec, signal: never } });
    assert.deepEqual(
      records
        .list()
        .map(({ containerId }) => containerId)
        .sort(),
      ["at-work", "kept"],
    );
    gate.resolve();
    await atWork;
  });

  it("spares what was added after the runtime made its list: the call may have waited for an agent", async () => {
    const earlier = { env: { SPIDERPOOL_CALLED_MS: String(Date.now() - 1_000) } };
    const valid = { "cni.dev/valid-attachments": [{ containerID: "other", ifname: "eth0" }] };
    const stdin = JSON.stringify({ ...multusConf, cniVersion: "1.1.0", ...valid });
    await succeed("ADD");
    await succeed("GC", { ...earlier, stdin });
    assert.equal(records.list().length, 1);
    await succeed("GC", { stdin, env: { SPIDERPOOL_CALLED_MS: String(Date.now() + 1_000) } });
    assert.equal(records.list().length, 0);
  });
});

describe("what is no proper call", () => {
  const cases: readonly (readonly [string, More, number])[] = [
    ["stdin that is no JSON", { stdin: "{" }, cniCodes.decode],
    ["a missing variable", { env: { CNI_IFNAME: "" } }, cniCodes.invalidEnvironment],
    ["a container ID with a slash", { env: { CNI_CONTAINERID: "../c" } }, cniCodes.invalidEnvironment],
    [
      "an unknown version",
      { stdin: JSON.stringify({ ...multusConf, cniVersion: "9.9.9" }) },
      cniCodes.incompatibleVersion,
    ],
    [
      "settings without any network",
      { stdin: JSON.stringify({ ...multusConf, clusterNetwork: "" }) },
      cniCodes.invalidConfig,
    ],
    [
      "a type that is not ours",
      { executable: "ovs", stdin: JSON.stringify({ ...multusConf, type: "bridge" }) },
      cniCodes.invalidConfig,
    ],
  ];
  for (const [what, more, code] of cases) {
    it(`gets code ${code}: ${what}`, async () => {
      assert.deepEqual([(await fail("ADD", more)).code, log, records.list()], [code, [], []]);
    });
  }

  it("gets code 4: an unknown verb", async () => {
    assert.equal((await fail("JUMP")).code, cniCodes.invalidEnvironment);
  });

  it("answers VERSION without any container", async () => {
    const answer = await succeed("VERSION", { env: { CNI_CONTAINERID: "", CNI_IFNAME: "", CNI_NETNS: "" } });
    assert.ok((answer as { supportedVersions: string[] }).supportedVersions.includes("1.0.0"));
  });
});

describe("the flight record", () => {
  it("keeps every call with its stages and, where it failed, its error", async () => {
    await succeed("ADD");
    ovs.acts.set("del", () => Promise.reject(new SpiderError("BUSY", "busy just now")));
    await fail("DEL");
    const [add, del] = flights.list();
    assert.deepEqual([add?.verb, add?.pod, add?.error], ["ADD", "default/a", undefined]);
    assert.deepEqual(
      add?.spans.map(({ stage }) => stage),
      ["queue", "pod", "networks", "link", "link", "record", "reply"],
    );
    assert.match(del?.error ?? "", /busy just now/);
  });
});
