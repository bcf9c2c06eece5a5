import { sameIp, tryParseIp } from "#ip";
import type { Claim } from "#ledger";
import { addressesOfStatus, networkStatusAnnotation } from "#multus";

interface PodAddresses {
  readonly uid: string;
  /** The texts of `status.podIPs`. */
  readonly ips: readonly string[];
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

/** Whether the claim is in quarantine, because a plugin gave it back as somebody else's, and the Pod still shows its address. */
export function isUsedThoughGivenBack({ ip, spec }: Claim, { uid, ips, annotations }: PodAddresses): boolean {
  if (spec.purpose !== "Quarantine" || spec.podUID !== uid) return false;
  const ofNic = addressesOfStatus(annotations?.[networkStatusAnnotation], spec.nic ?? "");
  return [...ofNic, ...ips.flatMap((text) => tryParseIp(text) ?? [])].some((one) => sameIp(one, ip));
}
