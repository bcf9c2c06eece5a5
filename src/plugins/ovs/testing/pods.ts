import assert from "node:assert/strict";
import type { FailPoint, JsonObject } from "#base";
import type { Attachment, CniResult } from "#cni";
import { createNetns, hostNetns, openNetns } from "#linux";
import type { Ovs } from "#ovsdb";
import type { Detection } from "../../detection.ts";
import { hostLinkName } from "../../names.ts";
import type { OvsNode } from "../../testing/ovs-node.ts";
import { deadline, runSteps } from "../../testing/run-steps.ts";
import type { StubIpam } from "../../testing/stub-ipam.ts";
import { inside } from "../../testing/traffic.ts";
import { createOvsPlugin } from "../plugin.ts";

/** Pods on a node with Open vSwitch. */
export function ovsPods({ real, ovs, tasks }: OvsNode) {
  const host = hostNetns();
  let pods = 0;

  /** A Pod with a namespace of its own and the plugin that serves it. */
  function pod(raw: JsonObject, ipam?: StubIpam, client: Ovs = ovs, detection?: Detection) {
    const containerId = `c${++pods}`;
    const netns = `/run/netns/${containerId}`;
    createNetns(netns)[Symbol.dispose]();
    const plugin = createOvsPlugin({
      host,
      ovsFor: () => client,
      ipamFor: () => ipam,
      tasks,
      flatFiles: [],
      ...(detection && { detection }),
    });
    const args = new Map([["K8S_POD_UID", `uid-${containerId}`]]);
    const attachment: Attachment = { containerId, ifName: "net1", netns, pod: undefined, args };
    const decode = (more: object = {}) =>
      plugin.decode({ cniVersion: "1.0.0", name: "n", type: "ovs", raw: { bridge: "br1", ...raw }, ...more });
    return {
      attachment,
      hostName: hostLinkName("veth", containerId, "net1"),
      add: (failPoint?: FailPoint) => runSteps((steps) => plugin.add(decode(), attachment, steps), failPoint),
      restore: (prevResult: CniResult) => plugin.restore?.(decode({ prevResult }), attachment, deadline()),
      check: (prevResult: CniResult) => plugin.check(decode({ prevResult }), attachment, deadline()),
      del: (more: Partial<Attachment> = {}) => plugin.del(decode(), { ...attachment, ...more }, deadline()),
      status: () => plugin.status?.(decode(), { ...deadline(), isFirst: true }),
      inside: (...argv: readonly [string, ...string[]]) => inside(netns, ...argv),
    };
  }

  /** Neither port nor link of the Pod is left, on the host or inside. */
  async function assertNothingLeft({ hostName, attachment: { netns } }: OvsPod): Promise<void> {
    await host.rtnl.deleteLinksLater([hostName]); // Waits for deletions that were queued before.
    assert.equal(host.rtnl.link(hostName), undefined);
    assert.equal(real.vsctl("--bare", "--columns=name", "find", "interface", `name=${hostName}`), "");
    using inside = openNetns(netns);
    assert.equal(inside.rtnl.link("net1"), undefined);
  }

  return { host, pod, assertNothingLeft };
}

/** A Pod, and what is done to it. */
export type OvsPod = ReturnType<ReturnType<typeof ovsPods>["pod"]>;
