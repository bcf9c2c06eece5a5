import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { never, SpiderError, systemClock } from "#base";
import { CniError, cniCodes } from "#cni";
import {
  coordinator,
  ended,
  fail,
  flights,
  log,
  type More,
  multusConf,
  ovs,
  records,
  send,
  succeed,
  turn,
  withNetworks,
} from "../testing/calls.ts";
import type { CallContext } from "./server.ts";

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
    const earlier = { env: { SPIDERPOOL_CALLED_MS: String(Math.floor(systemClock.monotonicMs()) - 1_000) } };
    const valid = { "cni.dev/valid-attachments": [{ containerID: "other", ifname: "eth0" }] };
    const stdin = JSON.stringify({ ...multusConf, cniVersion: "1.1.0", ...valid });
    await succeed("ADD");
    await succeed("GC", { ...earlier, stdin });
    assert.equal(records.list().length, 1);
    await succeed("GC", {
      stdin,
      env: { SPIDERPOOL_CALLED_MS: String(Math.floor(systemClock.monotonicMs()) + 1_000) },
    });
    assert.equal(records.list().length, 0);
  });

  it("takes down what was added before the node's last start, whose clock had come further", async () => {
    await succeed("ADD");
    const [record] = records.list();
    assert.ok(record);
    records.write({ ...record, bootId: "another" });
    const valid = { "cni.dev/valid-attachments": [{ containerID: "other", ifname: "eth0" }] };
    const stdin = JSON.stringify({ ...multusConf, cniVersion: "1.1.0", ...valid });
    await succeed("GC", { stdin, env: { SPIDERPOOL_CALLED_MS: "1" } });
    assert.deepEqual(records.list(), []);
  });
});

describe("GC by an empty list or for another network", () => {
  const gc = (more: object) =>
    succeed("GC", { stdin: JSON.stringify({ ...multusConf, cniVersion: "1.1.0", ...more }) });

  it("takes down only what has no namespace any more: the runtime may have lost its memory", async () => {
    await succeed("ADD");
    await gc({ "cni.dev/valid-attachments": [] });
    const [record] = records.list();
    assert.ok(record, "its sandbox is there");
    records.write({ ...record, netns: { ...record.netns, inode: "1" } });
    await gc({ "cni.dev/valid-attachments": [] });
    assert.deepEqual(records.list(), []);
  });

  it("leaves sandboxes of other networks alone", async () => {
    await succeed("ADD");
    await gc({ name: "another", "cni.dev/valid-attachments": [{ containerID: "other", ifname: "eth0" }] });
    assert.equal(records.list().length, 1);
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
    // On a busy machine it also waits for the turn of a stage.
    assert.deepEqual(
      add?.spans.map(({ stage }) => stage).filter((stage, at) => stage !== "queue" || at === 0),
      ["queue", "pod", "networks", "networks", "link", "link", "record", "reply"],
    );
    assert.match(del?.error ?? "", /busy just now/);
  });
});

describe("the IPAM plugin, called by a plugin of others", () => {
  it("says in an error which of its two tasks failed, in the words that such plugins know", async () => {
    const asked = {
      executable: "spiderpool",
      stdin: JSON.stringify({ cniVersion: "1.0.0", name: "n", type: "bridge" }),
    };
    const missing = "the network configuration has no ipam";
    assert.equal((await fail("ADD", asked)).msg, `spiderpool IP allocation error: ${missing}`);
    assert.equal((await fail("DEL", asked)).msg, `spiderpool IP release error: ${missing}`);
    assert.equal(
      flights.list()[0]?.error?.includes("spiderpool IP"),
      false,
      "who asks over HTTP puts it before by itself",
    );
  });
});
