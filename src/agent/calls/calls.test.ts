import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";
import { never, SpiderError } from "#base";
import { type CniRequest, cniCodes } from "#cni";
import { testPod } from "../testing/api.ts";
import {
  addNad,
  calls,
  context,
  coordinator,
  ended,
  fail,
  folder,
  log,
  multusConf,
  nadListeners,
  network,
  ovs,
  pods,
  records,
  send,
  succeed,
  told,
  turn,
  withNetworks,
} from "../testing/calls.ts";
import type { CallContext } from "./server.ts";

/** The environment of a call for a Pod in that namespace. */
const argsOf = (namespace: string) => ({ CNI_ARGS: `K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=a;K8S_POD_UID=uid-a` });

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

  it("that waits for its networks holds up no other", async () => {
    const metadata = { creationTimestamp: new Date().toISOString() };
    const annotations = { "k8s.v1.cni.cncf.io/networks": "default/late" };
    pods.find = async () => testPod("a", { metadata: { ...metadata, annotations } });
    // More than there are turns.
    const namespaces = ["busy", "busy", "calm"];
    const waiting = namespaces.map((namespace, at) =>
      succeed("ADD", { container: `late${at}`, env: argsOf(namespace) }),
    );
    while (nadListeners.size < waiting.length) await turn();
    pods.find = async () => testPod("a", { metadata });
    await succeed("ADD", { env: argsOf("other") });
    assert.equal(nadListeners.size, waiting.length, "they still wait");
    addNad("default/late", network("late", "ovs"));
    await Promise.all(waiting);
    assert.equal(nadListeners.size, 0);
  });

  it("has plugins verify each network by the interfaces of all, but not where another meta-plugin attaches the Pod", async () => {
    withNetworks("second");
    await succeed("ADD");
    assert.deepEqual(ovs.fits, [
      ["eth0", "eth0", "net1"],
      ["net1", "eth0", "net1"],
    ]);
    const stdin = JSON.stringify({ cniVersion: "1.0.0", name: "chain", type: "ovs" });
    await succeed("ADD", { container: "c2", executable: "ovs", stdin });
    assert.equal(ovs.fits.length, 2);
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

  it("names Pod and network also where a stage fails that nothing waited for", async () => {
    withNetworks("second");
    const places: number[] = [];
    ovs.acts.set("beside", async () => {
      if (places.push(places.length) === 2) throw new SpiderError("GATEWAY_SILENT", "nobody answers");
    });
    assert.equal(
      (await fail("ADD")).msg,
      '[default/a/uid-a:default/second]: error adding container to network "default/second": nobody answers',
    );
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

  it("runs a foreign plugin that was replaced by one that knows the version, without a new agent", async () => {
    withNetworks("foreign");
    let supportedVersions = ["0.4.0"];
    const exec: CallContext["exec"] = async () => ended({ cniVersion: "1.0.0", supportedVersions });
    await fail("ADD", { context: { exec, signal: never } });
    supportedVersions = ["0.4.0", "1.0.0"];
    await succeed("ADD", { context: { exec, signal: never } });
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

  it("gives a foreign plugin no more time than the call has, and a moment for its deadline to come first", async () => {
    withNetworks("foreign");
    const limits: number[] = [];
    const exec: CallContext["exec"] = async ({ timeoutMs }) => {
      limits.push(timeoutMs);
      return ended({ cniVersion: "1.0.0" });
    };
    await succeed("ADD", { context: { exec, signal: never } });
    assert.ok(limits.length === 2 && limits.every((ms) => ms > 0 && ms <= 30_020), String(limits));
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
    pods.find = () => Promise.reject(new SpiderError("POD_DEAD", "dead Pod default/a"));
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
      const { code, msg, details } = await failing;
      assert.deepEqual([code, details], [cniCodes.tryAgain, "unfinished link"]);
      assert.match(msg, /ADD was not done within 30 s/);
      assert.equal(log.at(-1), "undo ovs/default-net c1/eth0");
    } finally {
      mock.timers.reset();
    }
  });

  it("says at its deadline that another call of the sandbox was before it", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      const [started, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      coordinator.acts.set("del", () => {
        started.resolve();
        return goOn.promise;
      });
      await succeed("ADD");
      const first = send("DEL");
      await started.promise;
      const waiting = fail("ADD");
      await turn();
      mock.timers.tick(30_000);
      assert.match((await waiting).details ?? "", /another call of the sandbox was before it/);
      goOn.resolve();
      await first;
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

  it("let the event loop go on between them, however many have come at once", async () => {
    let rounds: number[] = [];
    const block = async () => {
      rounds[0] = (rounds[0] ?? 0) + 1;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    };
    mock.method(ovs, "verify", block);
    ovs.acts.set("del", block);
    for (const verb of ["ADD", "DEL"]) {
      rounds = [0];
      let isOver = false;
      const count = () => {
        if (rounds[0] !== 0) rounds.unshift(0);
        if (!isOver) setImmediate(count);
      };
      setImmediate(count);
      await Promise.all(Array.from({ length: 30 }, (_, at) => send(verb, { container: `c${at}` })));
      isOver = true;
      assert.equal(
        rounds.reduce((sum, each) => sum + each),
        30,
      );
      assert.ok(Math.max(...rounds) <= 4, `${verb}: ${rounds}`);
    }
  });

  it("of a namespace of its own begin and go on in one round of a burst's", async () => {
    let round = 0;
    let isOver = false;
    const count = () => {
      round += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    let [begunIn, wentOnIn] = [-1, -1];
    const read = records.read.bind(records);
    mock.method(records, "read", (key: Parameters<typeof read>[0]) => {
      if (key.containerId !== "calm") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      else if (begunIn < 0) begunIn = round;
      return read(key);
    });
    mock.method(ovs, "verify", async (_config: unknown, { containerId }: { readonly containerId: string }) => {
      if (containerId === "calm") wentOnIn = round;
    });
    const busy = Array.from({ length: 10 }, (_, at) => send("ADD", { container: `c${at}`, env: argsOf("busy") }));
    await Promise.all([...busy, send("ADD", { container: "calm", env: argsOf("calm") })]);
    isOver = true;
    assert.ok(begunIn >= 0 && wentOnIn === begunIn, `it began in round ${begunIn}, and went on in round ${wentOnIn}`);
  });

  it("are refused, not kept, when too many wait", async () => {
    const gate = Promise.withResolvers<void>();
    pods.find = async () => {
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

/** The DEL of the usual sandbox, as somebody else than its runtime would ask for it. */
const delOfC1: CniRequest = {
  verb: "DEL",
  executable: "multus",
  containerId: "c1",
  ifName: "eth0",
  netns: "",
  netnsOverride: false,
  path: [],
  args: new Map(),
  pod: undefined,
  config: { cniVersion: "1.0.0", name: multusConf.name, type: "multus", raw: multusConf },
};

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
    pods.known = testPod("a", { metadata: { annotations: { "k8s.v1.cni.cncf.io/networks": "second" } } });
    await succeed("DEL");
    assert.deepEqual(log, [
      "del ovs/second c1/net1",
      "del coordinator/default-net c1/eth0",
      "del ovs/default-net c1/eth0",
    ]);
    pods.known = testPod("a", { metadata: { annotations: { "k8s.v1.cni.cncf.io/networks": "gone" } } });
    await succeed("DEL");
    pods.known = testPod("a", { metadata: { uid: "another" } });
    await succeed("DEL");
    assert.equal(log.length, 3);
  });

  it("succeeds without a record, even if a plugin that is named is not there", async () => {
    pods.known = testPod("a", { metadata: { annotations: { "k8s.v1.cni.cncf.io/networks": "foreign" } } });
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

  it("cannot run a foreign plugin where no runtime asks: it says so, and keeps the record for the runtime's own DEL", async () => {
    withNetworks("foreign");
    const own: CallContext = { exec: async () => ended({ cniVersion: "1.0.0" }), signal: never };
    await succeed("ADD", { context: own });
    log.length = 0;
    await assert.rejects(calls.perform(delOfC1, { signal: never }), { code: "NO_SHIM" });
    assert.deepEqual(log, ["del coordinator/default-net c1/eth0", "del ovs/default-net c1/eth0"]);
    assert.equal(records.list().length, 1);
    await succeed("DEL", { context: own });
    assert.deepEqual(records.list(), []);
  });

  it("goes on when the runtime has given it up", async () => {
    await succeed("ADD");
    await succeed("DEL", { context: { ...context, signal: AbortSignal.abort(new Error("gone")) } });
    assert.deepEqual(records.list(), []);
  });
});
