import type { Family } from "./addresses.ts";
import type { Forward } from "./filters.ts";
import type { TrafficPod } from "./pods.ts";
import { behind, type Site } from "./site.ts";

/** What a site has while its traffic is tried. */
export interface World {
  readonly site: Site;
  /** On the first node. */
  readonly pod: TrafficPod;
  /** On the same node; undefined where the kernel allows no second one. */
  readonly neighbour: TrafficPod | undefined;
  /** On the other node. */
  readonly remote: TrafficPod;
  /** On the first node, with an address of the same network but in another VLAN. */
  readonly stranger: TrafficPod | undefined;
}

/** One way of traffic. Throws where it does not carry; undefined where the kind has no such way. */
export interface Way {
  readonly title: string;
  /** It takes its time: nothing may come. */
  readonly isSilent?: true;
  readonly attempt: (world: World, family: Family) => Promise<void> | undefined;
}

const services = { 4: ["10.96.0.1", "10.96.0.2"], 6: ["fd00:96::1", "fd00:96::2"] } as const;
const nodePort = 30_080;

/** What the first node forwards, as kube-proxy would have it: two Services, and a port of its own without another source. */
export function forwardsOf({ pod, neighbour, remote }: World): readonly Forward[] {
  return pod.families.flatMap((family) => {
    const [here, there] = services[family];
    const backends = neighbour === undefined ? [] : [{ from: here, to: neighbour.podIp(family) }];
    return [
      ...[...backends, { from: there, to: remote.podIp(family) }].map((one) => ({
        ...one,
        port: 80,
        masquerade: true,
      })),
      { from: pod.node.addresses[family], port: nodePort, to: pod.podIp(family), masquerade: false },
    ];
  });
}

/** Every way, with ping and TCP. */
export const ways: readonly Way[] = [
  {
    title: "Pod ↔ Pod, same node",
    attempt: ({ pod, neighbour }, family) => neighbour && between(pod, neighbour, family),
  },
  { title: "Pod ↔ Pod, other node", attempt: ({ pod, remote }, family) => between(pod, remote, family) },
  {
    title: "Pod → gateway",
    attempt: async ({ pod, site }, family) => {
      const { gateway } = site.segment[family];
      await pod.ping(gateway, { bytes: fullBytes(family) });
      answers(await pod.ask(gateway), "router");
    },
  },
  {
    title: "Pod ↔ own node",
    attempt: async ({ pod }, family) => {
      const { node } = pod;
      await pod.ping(node.addresses[family]);
      answers(await pod.ask(node.addresses[family]), node.name);
      for (const address of [pod.address(family), pod.podIp(family)]) await node.ping(address);
    },
  },
  {
    title: "probe of the node → Pod",
    attempt: async ({ pod, neighbour }, family) => {
      for (const target of [pod, neighbour]) {
        if (target === undefined) continue;
        answers(await pod.node.ask(target.podIp(family)), target.name);
        answers(await pod.node.ask(target.address(family)), target.name);
      }
    },
  },
  {
    title: "Pod → Service",
    attempt: async ({ pod, neighbour, remote }, family) => {
      const [here, there] = services[family];
      if (neighbour !== undefined) answers(await pod.ask(here), neighbour.name);
      answers(await pod.ask(there), remote.name);
    },
  },
  {
    title: "host outside → port of the node → Pod: back by the node",
    attempt: async ({ pod, site }, family) => {
      answers(await site.client.ask(pod.node.addresses[family], nodePort), pod.name);
    },
  },
  {
    title: "host outside → Pod: back by its own NIC",
    attempt: async ({ pod, site }, family) => {
      await site.direct.ping(pod.address(family));
      answers(await site.direct.ask(pod.address(family)), pod.name);
      await pod.ping(behind.client[family].address);
    },
  },
  {
    title: "other VLAN: nothing passes",
    isSilent: true,
    attempt: ({ pod, remote, stranger }, family) => stranger && apart(stranger, [pod, remote], family),
  },
];

/** The largest payload of a ping whose packet a network of 1,500 bytes carries whole. */
function fullBytes(family: Family): number {
  return 1_500 - 8 - (family === 4 ? 20 : 40);
}

async function between(a: TrafficPod, b: TrafficPod, family: Family): Promise<void> {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    await from.ping(to.address(family), { bytes: fullBytes(family) });
    answers(await from.ask(to.address(family)), to.name);
    if (to.podIp(family) !== to.address(family)) answers(await from.ask(to.podIp(family)), to.name);
  }
}

async function apart(stranger: TrafficPod, others: readonly TrafficPod[], family: Family): Promise<void> {
  const reached = others.map(async (other) => {
    const silent = stranger.ping(other.address(family), { seconds: 1 }).then(
      () => false,
      () => true,
    );
    if (!(await silent)) throw new Error(`${other.name} answers a Pod of another VLAN`);
  });
  await Promise.all(reached);
}

function answers(found: string, expected: string): void {
  if (found !== expected) throw new Error(`${found} answered in the place of ${expected}`);
}
