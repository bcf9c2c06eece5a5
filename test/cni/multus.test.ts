import assert from "node:assert/strict";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { type JsonObject, SpiderError } from "#base";
import { createNetns, deleteNetns } from "#linux";
import { createPassthruPlugin, type Plugin } from "#plugins";
import type { CallsOptions } from "../../src/agent/calls/calls.ts";
import { inPod, multusConfig, podNetns, type TestCall, TestRuntime, works } from "../../src/agent/testing/runtime.ts";
import { isolated } from "../../src/linux/testing/isolated.ts";

/** A Pod's networks as users of Multus know them, through the executable, with plugins that note how they were called. */
if (isolated(import.meta.url)) {
  let runtime: TestRuntime;

  before(() => {
    mkdirSync("/run/netns");
    createNetns(podNetns)[Symbol.dispose]();
  });
  after(() => deleteNetns(podNetns));
  beforeEach(async () => {
    runtime = await TestRuntime.start({ plugins: [createPassthruPlugin() as Plugin<never>] });
    for (const name of ["a", "b", "c"]) runtime.script(name, works);
    nad("kube-system/main", { type: "a" });
    nad("default/b", { type: "b" });
    nad("default/c", { type: "c" });
  });
  afterEach(() => runtime[Symbol.asyncDispose]());

  const nad = (path: string, ...plugins: readonly JsonObject[]) => runtime.network(path, ...plugins);
  const succeed = (verb: string, call: TestCall = {}) => runtime.succeed(verb, call);
  async function refused(call: TestCall = {}): Promise<{ code: number; msg: string; details: string }> {
    const answer = await runtime.call("ADD", call);
    assert.equal(answer.code, 1, answer.stdout);
    assert.deepEqual([runtime.noted(), runtime.records.list()], [[], []], "nothing was done");
    return { details: "", ...answer.json };
  }
  describe("conformance with Multus", { timeout: 240_000 }, () => {
    it("net<position> with and without defaultNetworks, and the names that are asked for; the first network answers", async () => {
      runtime.networks = "b, default/c@data0";
      const { json } = await succeed("ADD");
      assert.equal(json.interfaces[0].name, "eth0");
      assert.deepEqual(runtime.noted(), ["ADD a eth0", "ADD b net1", "ADD c data0"]);
      await succeed("DEL");
      nad("kube-system/extra", { type: "c" });
      runtime.networks = "b";
      await succeed("ADD", { config: multusConfig({ defaultNetworks: ["extra"] }) });
      assert.deepEqual(runtime.noted().slice(6), ["ADD a eth0", "ADD c net1", "ADD b net2"]);
      await succeed("DEL");
    });

    it("bad names, a trailing comma, a dotted name in the short form and an interface used twice are refused before anything is done", async () => {
      for (const [networks, expected] of [
        ["B", /lower-case letters/],
        ["b,", /name/],
        ["b.example", /dots needs the JSON form/],
        ["b/c/d", /at most one \//],
        ["b@a@b", /at most one @/],
        ["b@sixteen-bytes-1234", /too long/],
        ["b@x,c@x", /same interface name/],
        ["b@eth0", /same interface name/],
        ['[{"name":"b","mac":"zz"}]', /hardware address/],
        ['[{"name":"b","ips":["10.0.0"]}]', /an address or a CIDR/],
        ['{"name":"b"}', /JSON array/],
      ] as const) {
        runtime.networks = networks;
        const { code, msg, details } = await refused();
        assert.deepEqual([code, expected.test(`${msg} ${details}`)], [7, true], `${networks}: ${msg} ${details}`);
      }
    });

    it("a Pod that names a network which does not exist does not start without it", async () => {
      runtime.networks = "b,nowhere";
      const { msg } = await refused();
      assert.match(msg, /cannot find a network-attachment-definition \(nowhere\) in namespace \(default\)/);
    });

    it("a Pod that is gone gets an error and nothing else: no address is made up for it", async () => {
      await runtime[Symbol.asyncDispose]();
      const findPod = () => Promise.reject(new SpiderError("POD_NOT_FOUND", "Pod default/a does not exist"));
      runtime = await TestRuntime.start({ more: { findPod } });
      assert.match((await refused()).msg, /Pod default\/a does not exist/);
    });

    it("isolation permits the Pod's namespace, the global ones and any default network", async () => {
      nad("other/b", { type: "b" });
      nad("shared/b", { type: "b" });
      const config = multusConfig({ namespaceIsolation: true, globalNamespaces: "shared" });
      runtime.networks = "other/b";
      assert.match((await refused({ config })).msg, /namespace isolation enabled/);
      runtime.networks = "shared/b,b@x";
      runtime.defaultNetwork = "other/b";
      await succeed("ADD", { config });
      await succeed("DEL", { config });
    });

    it("every field of the JSON form reaches the plugins that declare it, and the runtime's port mappings all of them", async () => {
      nad("kube-system/main", { type: "a", capabilities: { portMappings: true, mac: true } });
      const capabilities = {
        portMappings: true,
        bandwidth: true,
        ips: true,
        mac: true,
        infinibandGUID: true,
        deviceID: true,
      };
      nad("default/b", { type: "b", capabilities });
      nad("default/c", { type: "c", args: { cni: { kept: 1, over: 1 } } });
      runtime.networks = JSON.stringify([
        {
          name: "b",
          interface: "net7",
          ips: ["10.9.9.9/24"],
          mac: "02:00:00:00:00:07",
          "infiniband-guid": "24:8a:07:03:00:8d:ae:2e",
          deviceID: "0000:07",
          bandwidth: { ingressRate: 5 },
        },
        { name: "c", "cni-args": { over: 2, more: { x: [1] } } },
      ]);
      const ports = [{ hostPort: 80, containerPort: 8080, protocol: "tcp" }];
      await succeed("ADD", { config: multusConfig({ runtimeConfig: { portMappings: ports } }) });
      assert.deepEqual(runtime.stdin("ADD", "a")["runtimeConfig"], { portMappings: ports });
      assert.deepEqual(runtime.stdin("ADD", "b")["runtimeConfig"], {
        portMappings: ports,
        bandwidth: { ingressRate: 5 },
        ips: ["10.9.9.9/24"],
        mac: "02:00:00:00:00:07",
        infinibandGUID: "24:8a:07:03:00:8d:ae:2e",
        deviceID: "0000:07",
      });
      assert.deepEqual(runtime.stdin("ADD", "c")["args"], { cni: { kept: 1, over: 2, more: { x: [1] } } });
      assert.equal("runtimeConfig" in runtime.stdin("ADD", "c"), false);
      const [, second = ""] = runtime.noted("args");
      assert.equal(
        second,
        "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=a;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=uid-a;MAC=02:00:00:00:00:07;IP=10.9.9.9/24",
      );
      await succeed("DEL");
      assert.deepEqual(runtime.stdin("DEL", "b")["runtimeConfig"], runtime.stdin("ADD", "b")["runtimeConfig"]);
    });

    it("two networks of one resource, one of them the default, get different devices, in the order of their IDs", async () => {
      runtime.devices = new Map([["vendor/nic", ["0000:02", "0000:01"]]]);
      for (const path of ["default/b", "default/c"]) {
        runtime.annotations.set(path, { "k8s.v1.cni.cncf.io/resourceName": "vendor/nic" });
      }
      runtime.defaultNetwork = "default/b";
      runtime.networks = "c";
      await succeed("ADD");
      for (const [name, id] of [
        ["b", "0000:01"],
        ["c", "0000:02"],
      ] as const) {
        const { deviceID, pciBusID } = runtime.stdin("ADD", name);
        assert.deepEqual([deviceID, pciBusID], [id, id]);
      }
      await succeed("DEL");
    });

    it("what is known of a network's device reaches its plugins and network-status, and goes with the DEL", async () => {
      const folder = "/var/run/k8s.cni.cncf.io/devinfo";
      mkdirSync(`${folder}/dp`, { recursive: true });
      writeFileSync(`${folder}/dp/vendor-nic-0000:01-device.json`, '{"type":"pci","version":"1.1.0"}');
      const told: (JsonObject | undefined)[] = [];
      const added: CallsOptions["added"] = (attached) => told.push(...attached.map(({ deviceInfo }) => deviceInfo));
      const devicesOf = () => new Map([["vendor/nic", ["0000:01", "0000:02", "0000:03"]]]);
      await runtime[Symbol.asyncDispose]();
      runtime = await TestRuntime.start({ more: { added, devicesOf } });
      nad("kube-system/main", { type: "a" });
      nad("default/b", { type: "b" });
      nad("default/c", { type: "c", capabilities: { CNIDeviceInfoFile: true } });
      for (const path of ["kube-system/main", "default/b", "default/c"]) {
        runtime.annotations.set(path, { "k8s.v1.cni.cncf.io/resourceName": "vendor/nic" });
      }
      for (const name of ["a", "b"]) runtime.script(name, works);
      const file = `${folder}/cni/default-c-c1_net2`;
      runtime.script("c", `[ "$CNI_COMMAND" = ADD ] && echo '{"type":"vdpa"}' >${file}; ${works}`);
      runtime.networks = "b,c";
      // The default network has a device, too, of which nothing is told: it has no such file.
      writeFileSync(`${folder}/dp/vendor-nic-0000:02-device.json`, '{"type":"pci","version":"1.1.0"}');
      await succeed("ADD");
      assert.deepEqual(runtime.stdin("ADD", "c")["runtimeConfig"], { CNIDeviceInfoFile: file });
      assert.deepEqual(readdirSync(`${folder}/cni`), ["default-b-c1_net1", "default-c-c1_net2"]);
      assert.deepEqual(told, [undefined, { type: "pci", version: "1.1.0" }, { type: "vdpa" }]);
      await succeed("DEL");
      assert.deepEqual(readdirSync(`${folder}/cni`), []);
      runtime.script("c", '[ "$CNI_COMMAND" = ADD ] && exit 1; exit 0');
      assert.equal((await runtime.call("ADD")).code, 1);
      assert.deepEqual(readdirSync(`${folder}/cni`), [], "an ADD that failed leaves none either");
    });

    it("an interface that the Pod already has is left alone: nothing is attached beside it", async () => {
      inPod("ip", "link", "add", "net2", "type", "veth", "peer", "name", "peer2");
      runtime.networks = "b,c";
      assert.match((await refused()).msg, /network "default\/c": the container already has an interface of this name/);
      inPod("ip", "link", "del", "net2");
    });

    it("DEL works with a record that is torn, for a Pod that is gone, and twice", async () => {
      runtime.networks = "b";
      await succeed("ADD");
      await succeed("DEL", { env: { CNI_ARGS: "" }, netns: "" });
      assert.deepEqual(runtime.noted().slice(2), ["DEL b net1", "DEL a eth0"]);
      await succeed("DEL");
      const folder = join(runtime.folder, "records");
      writeFileSync(join(folder, "torn@eth0.json"), "{");
      await succeed("DEL", { container: "torn" });
      assert.deepEqual(readdirSync(folder), []);
    });

    it("a DEL that fails at one network goes on with the others, and can be repeated", async () => {
      runtime.networks = "b,c";
      await succeed("ADD");
      runtime.script("b", "exit 1");
      const { code, json } = await runtime.call("DEL");
      assert.deepEqual([code, /plugin type="b" name="b" failed \(delete\)/.test(json.msg)], [1, true]);
      assert.deepEqual(runtime.noted().slice(3), ["DEL c net2", "DEL b net1", "DEL a eth0"]);
      runtime.script("b", works);
      await succeed("DEL");
      assert.deepEqual(runtime.records.list(), []);
    });

    it("nothing is attached before the file of another network's daemon is there", async () => {
      const file = "/run/ready";
      const config = multusConfig({ cniVersion: "1.1.0", readinessindicatorfile: file });
      const status = await runtime.call("STATUS", { config });
      assert.deepEqual([status.json.code, /readinessindicatorfile \/run\/ready/.test(status.json.details)], [50, true]);
      const adding = succeed("ADD", { config, started: () => setTimeout(() => writeFileSync(file, ""), 300) });
      await adding;
      assert.equal(runtime.noted()[0], "ADD a eth0");
      rmSync(file);
      await succeed("DEL", { config });
    });

    it("an auxiliary chain is attached last, its first plugin on an empty result", async () => {
      const folder = join(runtime.folder, "net.d");
      mkdirSync(join(folder, "aux"), { recursive: true });
      writeFileSync(join(folder, "05-main.conf"), '{"cniVersion":"1.0.0","name":"m","type":"a"}');
      writeFileSync(join(folder, "aux", "10-c.conf"), '{"type":"c"}');
      await runtime[Symbol.asyncDispose]();
      const source = {
        nad: () => undefined,
        directory: (path: string) => (path.endsWith("/aux") ? ["10-c.conf"] : undefined),
        file: (path: string) =>
          path.endsWith("aux/10-c.conf") ? '{"type":"c"}' : '{"cniVersion":"1.0.0","name":"m","type":"a"}',
      };
      runtime = await TestRuntime.start({ plugins: [createPassthruPlugin() as Plugin<never>], more: { source } });
      for (const name of ["a", "c"]) runtime.script(name, works);
      const config = multusConfig({ clusterNetwork: "/net.d/05-main.conf", auxiliaryCNIChainName: "aux" });
      await succeed("ADD", { config });
      assert.deepEqual(runtime.noted(), ["ADD a eth0", "ADD c net1"]);
      assert.deepEqual(runtime.stdin("ADD", "c")["prevResult"], { cniVersion: "1.0.0" });
      await succeed("DEL", { config });
    });

    it("default routes: of one family, of both, kept by an empty list, and never two", async () => {
      const ptp = (name: string, at: number) =>
        nad(name, {
          type: "ptp",
          ipam: {
            type: "static",
            addresses: [
              { address: `10.${at}.0.2/24`, gateway: `10.${at}.0.1` },
              { address: `fd0${at}::2/64`, gateway: `fd0${at}::1` },
            ],
            routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
          },
        });
      ptp("kube-system/main", 1);
      ptp("default/b", 2);
      const defaultOf = (family: "-4" | "-6") =>
        inPod("ip", family, "route", "show", "default")
          .replace(/ (metric|proto).*/, "")
          .trim();
      for (const wish of [["10.2.0.1"], ["10.2.0.1", "fd02::1"], []]) {
        runtime.networks = JSON.stringify([{ name: "b", "default-route": wish }]);
        await succeed("ADD");
        assert.equal(defaultOf("-4"), "default via 10.2.0.1 dev net1");
        // Where nobody asks, the kernel makes one route of two.
        if (wish.length !== 1) assert.equal(defaultOf("-6"), "default via fd02::1 dev net1");
        await succeed("DEL");
      }
      for (const file of ["calls", "args"]) rmSync(join(runtime.folder, file), { force: true });
      runtime.networks = JSON.stringify([{ name: "b", "default-route": ["10.2.0.1", "10.2.0.3"] }]);
      assert.match((await refused()).msg, /multus does not support ECMP for default-route/);
    });
  });
}
