import type { SpiderEndpoint, SpiderIPPool } from "#api";
import type { Disagreement } from "#doctor";
import { formatIp, tryParsePrefix } from "#ip";
import { isPodAlive, isPodUid, keyOf, type Pod } from "#kube";
import { type Claim, isHeld } from "#ledger";
import { isUsedThoughGivenBack } from "../given-back.ts";

/** A list of objects, and when it was requested. */
export interface Read<T> {
  readonly items: readonly T[];
  readonly readAt: Date;
}

/** The content of all sources. */
export interface Observed {
  readonly claims: Read<Claim>;
  readonly pods: Read<Pod>;
  readonly endpoints: Read<SpiderEndpoint>;
  readonly pools: Read<SpiderIPPool>;
}

/** Every pair of facts that contradict each other. Pure. */
export function disagreements(observed: Observed): readonly Disagreement[] {
  return [
    ...claimsOfGonePods(observed),
    ...podsWithoutClaims(observed),
    ...podsInQuarantine(observed),
    ...addressesOfTwoPods(observed),
    ...differentViews(observed),
  ];
}

/** Sticky claims may outlive their Pods. A claim of a former Pod with a living Pod's name has the wrong UID. */
function claimsOfGonePods({ claims, pods }: Observed): readonly Disagreement[] {
  const podOf = new Map(pods.items.map((pod) => [keyOf(pod.metadata), pod]));
  return claims.items.flatMap((claim): readonly Disagreement[] => {
    const { spec, ip, uid } = claim;
    if (spec.purpose !== "Pod" || spec.podName === undefined || spec.podUID === undefined) return [];
    const name = `${spec.podNamespace}/${spec.podName}`;
    const pod = podOf.get(name);
    if (pod !== undefined && isPodUid(pod, spec.podUID)) return [];
    const address = formatIp(ip);
    const kind = pod === undefined ? "claim-without-pod" : "wrong-uid";
    const other = pod === undefined ? "there is no such Pod" : `that Pod has UID ${pod.metadata.uid}`;
    return [
      {
        kind,
        object: address,
        address,
        key: `${kind} ${uid}`,
        one: { text: `claim of Pod ${name}, UID ${spec.podUID}`, readAt: claims.readAt },
        other: { text: other, readAt: pods.readAt },
      },
    ];
  });
}

/** A living Pod's address must belong to it in the ledger. */
function podsWithoutClaims({ claims, pods, endpoints }: Observed): readonly Disagreement[] {
  const claimOf = new Map(claims.items.map((claim) => [formatIp(claim.ip), claim]));
  const alive = new Map(pods.items.filter(isPodAlive).map((pod) => [pod.metadata.uid, pod]));
  return endpoints.items.flatMap(({ status: { current } }) => {
    const pod = alive.get(current.uid);
    if (pod === undefined) return [];
    return addressesOf(current).flatMap((address): readonly Disagreement[] => {
      const claim = claimOf.get(address);
      if (claim !== undefined && (!isHeld(claim) || claim.spec.podUID === current.uid)) return [];
      // Reported already, for the claim.
      if (claim !== undefined && claim.spec.podName === pod.metadata.name) return [];
      const holder = claim && `the claim is that of Pod ${claim.spec.podNamespace}/${claim.spec.podName}`;
      const object = keyOf(pod.metadata);
      return [
        {
          kind: "pod-without-claim",
          object,
          key: `pod-without-claim ${current.uid} ${address}`,
          one: { text: `the Pod's SpiderEndpoint has ${address}`, readAt: endpoints.readAt },
          other: { text: holder ?? `there is no claim on ${address}`, readAt: claims.readAt },
        },
      ];
    });
  });
}

/** A Pod runs with an address that was given back, because somebody else was found to have it. */
function podsInQuarantine({ claims, pods }: Observed): readonly Disagreement[] {
  const alive = new Map(pods.items.filter(isPodAlive).map((pod) => [pod.metadata.uid, pod]));
  return claims.items.flatMap((claim): readonly Disagreement[] => {
    const { ip, spec } = claim;
    const pod = alive.get(spec.podUID ?? "");
    if (pod === undefined) return [];
    const { metadata, status } = pod;
    const ips = status?.podIPs?.flatMap((one) => one.ip ?? []) ?? [];
    if (!isUsedThoughGivenBack(claim, { ...metadata, ips })) return [];
    const address = formatIp(ip);
    const until = `it is in quarantine until ${spec.until ?? "further notice"}: ${spec.reason ?? "no reason given"}`;
    return [
      {
        kind: "pod-without-claim",
        object: keyOf(metadata),
        key: `pod-without-claim ${metadata.uid} ${address}`,
        one: { text: `the Pod runs with ${address}`, readAt: pods.readAt },
        other: { text: until, readAt: claims.readAt },
      },
    ];
  });
}

/** Two living Pods have the same address. */
function addressesOfTwoPods({ pods, endpoints }: Observed): readonly Disagreement[] {
  const alive = new Map(pods.items.filter(isPodAlive).map((pod) => [pod.metadata.uid, pod]));
  const holders = new Map<string, readonly string[]>();
  for (const { status } of endpoints.items) {
    const pod = alive.get(status.current.uid);
    for (const address of pod === undefined ? [] : addressesOf(status.current)) {
      holders.set(address, [...(holders.get(address) ?? []), keyOf(pod?.metadata ?? { name: "" })]);
    }
  }
  return [...holders].flatMap(([object, [first, second]]): readonly Disagreement[] => {
    if (second === undefined) return [];
    const one = { text: `SpiderEndpoint ${first} has it, and its Pod lives`, readAt: endpoints.readAt };
    const other = { text: `SpiderEndpoint ${second} has it, too, and its Pod lives`, readAt: endpoints.readAt };
    return [{ kind: "one-address-twice", object, key: `one-address-twice ${object}`, one, other }];
  });
}

function addressesOf({ ips }: SpiderEndpoint["status"]["current"]): readonly string[] {
  const texts = ips.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6]);
  return texts.flatMap((text = "") => tryParsePrefix(text) ?? []).map(({ ip }) => formatIp(ip));
}

/** A pool's status must agree with its claims. */
function differentViews({ claims, pools }: Observed): readonly Disagreement[] {
  const count = new Map<string, number>();
  for (const claim of claims.items) {
    if (isHeld(claim)) count.set(claim.spec.poolUID, (count.get(claim.spec.poolUID) ?? 0) + 1);
  }
  return pools.items.flatMap(({ metadata: { name, uid }, status }): readonly Disagreement[] => {
    const claimed = count.get(uid) ?? 0;
    const shown = Number(status?.allocatedIPCount ?? 0);
    if (shown === claimed) return [];
    return [
      {
        kind: "view-differs",
        object: `spiderippool/${name}`,
        key: `view-differs ${uid}`,
        one: { text: `its status counts ${shown} addresses in use`, readAt: pools.readAt },
        other: { text: `${claimed} claims name it`, readAt: claims.readAt },
      },
    ];
  });
}
