import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { codeOf, type FailPoint, type JsonObject, silentLogger, Tasks } from "#base";
import type { Attachment, CniResult, Ipam } from "#cni";
import { createNetns, hostNetns, type LinkKind, openNetns } from "#linux";
import type { Detection } from "../../detection.ts";
import { deadline, runSteps } from "../../testing/run-steps.ts";
import { inside } from "../../testing/traffic.ts";
import { createIpvlanPlugin, createMacvlanPlugin, createVlanPlugin } from "../plugin.ts";

const creators = { macvlan: createMacvlanPlugin, ipvlan: createIpvlanPlugin, vlan: createVlanPlugin } as const;
export type Kind = keyof typeof creators;
export const kinds = Object.keys(creators) as readonly Kind[];
export const both = ["10.10.0.5/24", "fd00::5/64"] as const;

/** Pods whose NICs are made on interfaces of this namespace. To be called in an isolated test file. */
export function subInterfacePods() {
  const host = hostNetns();
  const tasks = new Tasks(silentLogger);
  let pods = 0;
  const netnsPaths = new Set<string>();
  mkdirSync("/run/netns");

  /** A Pod with a namespace of its own and the plugin that serves it. */
  function pod(
    kind: Kind,
    raw: JsonObject,
    {
      ipam,
      detection,
      attached = [],
      with: shared,
    }: {
      ipam?: Ipam;
      detection?: Detection;
      attached?: readonly JsonObject[];
      /** Another Pod, whose plugin serves this one, too. */
      with?: { readonly plugin: ReturnType<(typeof creators)[Kind]> };
    } = {},
  ) {
    const containerId = `c${++pods}`;
    const netns = `/run/netns/${containerId}`;
    createNetns(netns)[Symbol.dispose]();
    netnsPaths.add(netns);
    const plugin =
      shared?.plugin ??
      creators[kind]({
        host,
        ipamFor: () => ipam,
        tasks,
        attached: () => attached,
        ...(detection && { detection }),
      });
    const attachment: Attachment = { containerId, ifName: "net1", netns, pod: undefined, args: new Map() };
    const usual = { master: `${kind}0`, ...(kind === "vlan" && { vlanId: 10 }) };
    const decode = (more: object = {}) =>
      plugin.decode({ cniVersion: "1.0.0", name: "n", type: kind, raw: { ...usual, ...raw }, ...more });
    return {
      attachment,
      netns,
      plugin,
      add: (failPoint?: FailPoint, more: object = {}) =>
        runSteps((steps) => plugin.add(decode(more), attachment, steps), failPoint),
      check: (prevResult: CniResult) => plugin.check(decode({ prevResult }), attachment, deadline()),
      del: (more: Partial<Attachment> = {}) => plugin.del(decode(), { ...attachment, ...more }, deadline()),
      status: (isFirst = true) => plugin.status?.(decode(), { ...deadline(), isFirst }),
      inside: (...argv: readonly [string, ...string[]]) => inside(netns, ...argv),
    };
  }

  /** Only loopback is left in the Pod, when what goes on after answers has ended. */
  async function assertNothingLeft({ netns }: SubInterfacePod): Promise<void> {
    await tasks.idle();
    using netnsOfPod = openNetns(netns);
    assert.deepEqual(
      netnsOfPod.rtnl.links().map(({ name }) => name),
      ["lo"],
    );
  }

  /** Whether the kernel makes such links; a module is loaded by the attempt. */
  function has(kind: Kind): boolean {
    const link: LinkKind = {
      macvlan: { kind, parent: "try0", mode: "bridge" } as const,
      ipvlan: { kind, parent: "try0", mode: "l2" } as const,
      vlan: { kind, parent: "try0", id: 1 } as const,
    }[kind] as LinkKind;
    host.rtnl.createVeth({ name: "try0", peer: { name: "try1" } });
    try {
      host.rtnl.createLink({ name: "try2", kind: link });
      return true;
    } catch (error) {
      if (codeOf(error) === "EOPNOTSUPP") return false;
      throw error;
    } finally {
      host.rtnl.deleteLink("try0");
    }
  }

  return { host, tasks, netnsPaths, pod, assertNothingLeft, has };
}

export type SubInterfacePods = ReturnType<typeof subInterfacePods>;
/** A Pod, and what is done to it. */
type SubInterfacePod = ReturnType<SubInterfacePods["pod"]>;
