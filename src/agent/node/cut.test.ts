import assert from "node:assert/strict";
import { it } from "node:test";
import { createNetns, deleteNetns, hostNetns } from "#linux";
import { isolated } from "../../linux/testing/isolated.ts";
import type { SandboxRecord } from "../sandboxes/records.ts";
import { cutOff } from "./cut.ts";

if (isolated(import.meta.url)) {
  it("takes down both ends of a sandbox's links, also where the node has none, and copes with one that is gone", () => {
    const path = "/run/netns/pod";
    const host = hostNetns();
    const pod = createNetns(path);
    host.rtnl.createVeth({ name: "veth1", up: true, peer: { name: "eth0", netns: pod, up: true } });
    host.rtnl.createVeth({ name: "card0", up: true, peer: { name: "card1", up: true } });
    pod.rtnl.createLink({
      name: "net1",
      kind: { kind: "macvlan", parent: "card0", mode: "bridge" },
      parentNetns: host,
    });
    pod.rtnl.setLink("net1", { up: true });
    const network = { name: "n", networkName: "n", plugins: [], cniVersion: "1.0.0", cniArgs: [], capabilityArgs: {} };
    const ends = { cniVersion: "1.0.0", interfaces: [{ name: "veth1" }, { name: "eth0", sandbox: path }] };
    const record: SandboxRecord = {
      format: 1,
      containerId: "c",
      ifName: "eth0",
      network: "n",
      netns: { path, device: "0", inode: "0" },
      bootId: "b",
      pod: null,
      networks: [
        { ...network, ifName: "eth0", result: ends },
        { ...network, ifName: "net1", result: { cniVersion: "1.0.0", interfaces: [{ name: "net1", sandbox: path }] } },
      ],
      complete: true,
    };
    cutOff(record, host);
    assert.equal(host.rtnl.link("veth1")?.up, false);
    assert.deepEqual(
      ["eth0", "net1", "lo"].map((name) => pod.rtnl.link(name)?.up),
      [false, false, true],
    );
    pod[Symbol.dispose]();
    deleteNetns(path);
    cutOff(record, host);
  });
}
