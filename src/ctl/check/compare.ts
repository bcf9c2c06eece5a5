import type { SpiderEndpoint, SpiderIPPool } from "#api";
import { formatIp, tryParsePrefix } from "#ip";
import { isPodAlive, isPodUid, keyOf, type Pod } from "#kube";
import { type Claim, isHeld } from "#ledger";

/** A list of objects, and when it was asked for. */
export interface Read<T> {
  readonly items: readonly T[];
  readonly readAt: Date;
}

/** What the sources said. */
export interface Observed {
  readonly claims: Read<Claim>;
  readonly pods: Read<Pod>;
  readonly endpoints: Read<SpiderEndpoint>;
  readonly pools: Read<SpiderIPPool>;
}

export type DisagreementKind = "claim-without-pod" | "pod-without-claim" | "wrong-uid" | "view-differs";

interface Fact {
  readonly text: string;
  readonly readAt: Date;
}

/** Two facts that cannot both hold. */
export interface Disagreement {
  readonly kind: DisagreementKind;
  readonly object: string;
  /** The same in every observation of the same fault. */
  readonly key: string;
  /** The address that a release would mend. */
  readonly address?: string;
  readonly one: Fact;
  readonly other: Fact;
}

/** Every pair of facts that disagree. Pure. */
export function disagreements(observed: Observed): readonly Disagreement[] {
  return [...claimsOfGonePods(observed), ...podsWithoutClaims(observed), ...differentViews(observed)];
}

/** Sticky claims outlive their Pods; a claim of a former Pod of a living Pod's name is one with a wrong UID. */
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
        ...{ kind, object: address, address, key: `${kind} ${uid}` },
        one: { text: `claim of Pod ${name}, UID ${spec.podUID}`, readAt: claims.readAt },
        other: { text: other, readAt: pods.readAt },
      },
    ];
  });
}

/** The address that a living Pod was told to have must be its own in the ledger. */
function podsWithoutClaims({ claims, pods, endpoints }: Observed): readonly Disagreement[] {
  const claimOf = new Map(claims.items.map((claim) => [formatIp(claim.ip), claim]));
  const alive = new Map(pods.items.filter(isPodAlive).map((pod) => [pod.metadata.uid, pod]));
  return endpoints.items.flatMap(({ status: { current } }) => {
    const pod = alive.get(current.uid);
    if (pod === undefined) return [];
    return current.ips
      .flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])
      .flatMap((text = "") => tryParsePrefix(text) ?? [])
      .flatMap(({ ip }): readonly Disagreement[] => {
        const address = formatIp(ip);
        const claim = claimOf.get(address);
        if (claim !== undefined && (!isHeld(claim) || claim.spec.podUID === current.uid)) return [];
        // Told of already, from the claim's side.
        if (claim !== undefined && claim.spec.podName === pod.metadata.name) return [];
        const holder = claim && `the claim is that of Pod ${claim.spec.podNamespace}/${claim.spec.podName}`;
        const object = keyOf(pod.metadata);
        return [
          {
            ...{ kind: "pod-without-claim", object, key: `pod-without-claim ${current.uid} ${address}` },
            one: { text: `the Pod's SpiderEndpoint has ${address}`, readAt: endpoints.readAt },
            other: { text: holder ?? `there is no claim on ${address}`, readAt: claims.readAt },
          },
        ];
      });
  });
}

/** A pool's status is made of its claims. */
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
        ...{ kind: "view-differs", object: `spiderippool/${name}`, key: `view-differs ${uid}` },
        one: { text: `its status counts ${shown} addresses in use`, readAt: pools.readAt },
        other: { text: `${claimed} claims name it`, readAt: claims.readAt },
      },
    ];
  });
}
