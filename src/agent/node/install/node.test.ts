import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { type Clock, silentLogger, systemClock } from "#base";
import { decodeSettings } from "#multus";
import { until } from "../../../base/testing/until.ts";
import { Manifest } from "./manifest.ts";
import { networkFile } from "./network-file.ts";
import { NodeFiles } from "./node.ts";

let root: string;
let confDir: string;
let binDir: string;
let told: [reason: string, message: string][];
/** Resolves at the next word to the administrator. */
let telling: PromiseWithResolvers<void>;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "node-files-"));
  [confDir, binDir] = [join(root, "net.d"), join(root, "bin")];
  mkdirSync(confDir);
  writeFileSync(join(root, "shim"), "shim");
  told = [];
  telling = Promise.withResolvers();
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function nodeFiles(clusterNetwork = "", clock: Clock = systemClock): NodeFiles {
  return new NodeFiles({
    executables: { binDir, shim: join(root, "shim"), socket: "/run/cni.sock", names: ["multus", "ovs"] },
    network: { confDir, clusterNetwork, namespace: "spider-system" },
    stateDir: join(root, "state"),
    clock,
    log: silentLogger,
    tell: (reason, message) => {
      told.push([reason, message]);
      telling.resolve();
      telling = Promise.withResolvers();
    },
  });
}

const uninstall = () => new Manifest(join(root, "state")).remove();
const put = (file: string, config: unknown) =>
  writeFileSync(join(confDir, file), typeof config === "string" ? config : JSON.stringify(config));
const flannel = { name: "cbr0", cniVersion: "0.3.1", plugins: [{ type: "flannel" }, { type: "portmap" }] };
const conf = () => JSON.parse(readFileSync(join(confDir, networkFile), "utf8"));
const defaultOf = () => {
  const { clusterNetwork, fallbackNetwork, multusNamespace } = decodeSettings(conf());
  return { clusterNetwork, fallbackNetwork: fallbackNetwork.replace(`${confDir}/`, ""), multusNamespace };
};
const reasons = () => told.map(([reason]) => reason);

/** Runs `act` while the files are kept. */
async function whileKept(files: NodeFiles, act: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const kept = files.keep({ signal: stop.signal });
  try {
    await act();
  } finally {
    stop.abort(new Error("over"));
    await kept;
  }
}

describe("the network configuration", () => {
  it("names the configured network, by whatever namespace it has, and the node's former one for as long as that is empty", () => {
    put("10-flannel.conflist", flannel);
    nodeFiles("kube-system/ovs-conf").install();
    assert.deepEqual(defaultOf(), {
      clusterNetwork: "ovs-conf",
      fallbackNetwork: "10-flannel.conflist",
      multusNamespace: "kube-system",
    });
    nodeFiles("net").install();
    assert.deepEqual([defaultOf().clusterNetwork, defaultOf().multusNamespace], ["net", "spider-system"]);
    assert.equal(statSync(join(confDir, networkFile)).mode & 0o777, 0o600);
    assert.deepEqual(told, []);
  });

  it("takes the node's former network as the default where none is configured", () => {
    put("10-flannel.conflist", flannel);
    nodeFiles().install();
    assert.equal(defaultOf().clusterNetwork, "cbr0");
  });

  it("passes over what no runtime could use: back-ups, broken files, lists without plugins, other meta-plugins", () => {
    put("05-cilium.conflist.cilium_bak", flannel);
    put("06-broken.conf", "{");
    put("07-empty.conflist", { name: "e", plugins: [] });
    put("08-list.conf", flannel);
    put("09-multus.conf", { name: "m", type: "multus-shim" });
    put("10-no-name.conf", { type: "bridge" });
    mkdirSync(join(confDir, "11-folder.conf"));
    put("20-bridge.conf", { name: "mynet", type: "bridge" });
    nodeFiles().install();
    assert.deepEqual(defaultOf(), {
      clusterNetwork: "mynet",
      fallbackNetwork: "20-bridge.conf",
      multusNamespace: "spider-system",
    });
  });

  it("is not written where there is no network at all; that is said, and it is written as soon as there is one", async () => {
    put("06-broken.conf", "{");
    const files = nodeFiles();
    files.install();
    assert.equal(existsSync(join(confDir, networkFile)), false);
    assert.deepEqual(reasons(), ["NoDefaultNetwork"]);
    assert.match(
      told[0]?.[1] ?? "",
      /defaultCniCRName.*06-broken.conf is not a JSON object|06-broken.*defaultCniCRName/s,
    );
    await whileKept(files, async () => {
      put("10-flannel.conflist", flannel);
      await until("our file", () => existsSync(join(confDir, networkFile)), Boolean);
    });
    assert.equal(defaultOf().clusterNetwork, "cbr0");
    assert.deepEqual(reasons(), ["NoDefaultNetwork"]);
  });

  it("follows the node's former network when that changes its file", async () => {
    put("10-flannel.conflist", flannel);
    const files = nodeFiles();
    files.install();
    await whileKept(files, async () => {
      rmSync(join(confDir, "10-flannel.conflist"));
      put("05-calico.conflist", { ...flannel, name: "k8s-pod-network" });
      await until(
        "another default",
        () => defaultOf().clusterNetwork,
        (name) => name === "k8s-pod-network",
      );
    });
    assert.deepEqual(told, []);
  });

  it("says that the runtime uses another file where one sorts before ours", () => {
    put("00-first.conf", { name: "first", type: "bridge" });
    nodeFiles("net").install();
    assert.deepEqual(reasons(), ["NetworkFileShadowed"]);
    assert.match(told[0]?.[1] ?? "", /00-first\.conf instead of 00-multus\.conf/);
  });

  it("says whose configuration it replaces when another Multus was there first", () => {
    put("10-flannel.conflist", flannel);
    put(networkFile, { name: "multus-cni-network", type: "multus-shim" });
    nodeFiles().install();
    assert.equal(conf().type, "multus");
    assert.match(told[0]?.[1] ?? "", /Multus daemon.*kube-multus-ds/);
  });

  it("of an earlier agent is replaced without a word", () => {
    put("10-flannel.conflist", flannel);
    nodeFiles("old").install();
    nodeFiles("new").install();
    assert.equal(defaultOf().clusterNetwork, "new");
    assert.deepEqual(told, []);
  });
});

describe("what we put on a node", () => {
  it("is restored when it is removed, changed, or renamed by Cilium, and it is said who did it", async () => {
    put("10-flannel.conflist", flannel);
    const clock: Clock = { ...systemClock, sleep: async () => {} };
    const files = nodeFiles("net", clock);
    files.install();
    const wanted = conf();
    await whileKept(files, async () => {
      let next = telling.promise;
      rmSync(join(confDir, networkFile));
      await next;
      assert.deepEqual(conf(), wanted);
      next = telling.promise;
      put(networkFile, { name: "multus-cni-network", type: "multus-shim" });
      await next;
      assert.deepEqual(conf(), wanted);
      next = telling.promise;
      renameSync(join(confDir, networkFile), join(confDir, `${networkFile}.cilium_bak`));
      await next;
      assert.deepEqual(conf(), wanted);
      next = telling.promise;
      writeFileSync(join(root, "ovs"), "an ovs-cni");
      renameSync(join(root, "ovs"), join(binDir, "ovs"));
      await next;
      assert.equal(readFileSync(join(binDir, "ovs"), "utf8"), "shim");
    });
    const words = [
      /was removed; restored$/,
      /Multus daemon/,
      /cni\.exclusive=false.*restored, 3 times/,
      /in .*bin.*: ovs/,
    ];
    for (const [at, pattern] of words.entries()) assert.match(told[at]?.[1] ?? "", pattern);
  });

  it("is restored more and more slowly in a fight", async () => {
    const slept: number[] = [];
    const clock: Clock = { ...systemClock, sleep: async (ms) => void slept.push(ms) };
    const files = nodeFiles("net", clock);
    files.install();
    await whileKept(files, async () => {
      for (let round = 0; round < 5; round++) {
        const next = telling.promise;
        rmSync(join(confDir, networkFile));
        await next;
      }
    });
    assert.deepEqual(slept, [500, 1000, 2000, 4000]);
  });

  it("comes back when the whole folder is replaced", async () => {
    const files = nodeFiles("net");
    files.install();
    await whileKept(files, async () => {
      rmSync(confDir, { recursive: true });
      await until("our file", () => existsSync(join(confDir, networkFile)), Boolean);
    });
  });

  it("is gone after an uninstall, and nothing else", () => {
    mkdirSync(binDir);
    writeFileSync(join(binDir, "bridge"), "foreign");
    put("10-flannel.conflist", flannel);
    const files = nodeFiles("net");
    files.install();
    rmSync(join(binDir, "ovs"));
    writeFileSync(join(binDir, "ovs"), "another's by now");
    const { left, removed } = uninstall();
    assert.deepEqual(left, [join(binDir, "ovs")]);
    assert.equal(removed[0], join(confDir, networkFile)); // before the plugins that it names
    assert.deepEqual(readdirSync(confDir), ["10-flannel.conflist"]);
    assert.deepEqual(readdirSync(binDir).sort(), ["bridge", "ovs"]);
    assert.deepEqual(readdirSync(join(root, "state")), []);
  });

  it("is gone after an uninstall that follows a kill in the middle of an installation", () => {
    const files = nodeFiles("net");
    files.install();
    for (const folder of [binDir, confDir]) writeFileSync(join(folder, `${networkFile}.0123456789ab.new`), "half");
    writeFileSync(join(binDir, "ovs.0123456789ab.new"), "half");
    // A later agent noted its new file and ended before it put it.
    const next = nodeFiles("net");
    writeFileSync(join(root, "shim"), "shim 2");
    rmSync(join(binDir, "ovs"));
    mkdirSync(join(binDir, "ovs"));
    assert.throws(() => next.install());
    rmSync(join(binDir, "ovs"), { recursive: true });
    uninstall();
    // A name that is none of ours there is not touched.
    assert.deepEqual(readdirSync(binDir), [`${networkFile}.0123456789ab.new`]);
    assert.deepEqual(readdirSync(confDir), [`${networkFile}.0123456789ab.new`]);
    next.install();
    assert.deepEqual(readdirSync(confDir), [networkFile]);
  });
});
