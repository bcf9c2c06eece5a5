import { SpiderError } from "#base";
import { sameIp } from "#ip";
import type { Settings } from "./config.ts";
import { type Side, usableAddresses } from "./state.ts";

/** The Pod's end of the pair that the coordinator makes for underlay Pods. */
export const vethName = "veth0";
/** The table for replies that must not follow the default route. */
export const replyTable = 100;
/** The table of the first NIC; later ones follow. */
export const firstTable = 101;

/** The part that an interface has in its Pod. */
export interface Role {
  readonly mode: "underlay" | "overlay";
  /** It is the first interface with a coordinator: its ADD also makes what serves the whole Pod. */
  readonly first: boolean;
  /** Its own routing table in the Pod. */
  readonly table: number;
  /** The Pod's interface that leads to the node. */
  readonly podLink: string;
}

const iffUp = 0x1;
const iffBroadcast = 0x2;
const iffMulticast = 0x1000;

/**
 * The role of `ifName`. The number of its table follows from how many interfaces the Pod has when this one is added. In
 * underlay Pods `veth0` counts, so that the first and the second NIC share table 101. An interface whose addresses already
 * have a rule keeps its table, since later interfaces change the count.
 *
 * @throws SpiderError `COORDINATOR_MODE_UNFIT` if the mode does not fit the interfaces that are there
 */
export function resolveRole(pod: Side, ifName: string, { mode, firstNic }: Settings): Role {
  const hasVeth = pod.links.some(({ name }) => name === vethName);
  const isFirstNic = ifName === firstNic;
  const underlay = mode === "underlay" || (mode === "auto" && (isFirstNic || hasVeth));
  const count = countLinks(pod, ifName);
  const kept = ruledTable(pod, ifName);
  if (underlay) {
    if (!isFirstNic && !hasVeth) {
      throw unfit(
        "auxiliary interface was not created by previous interface, enable coordinator on that",
        { interface: ifName, mode },
        `leave the coordinator of ${firstNic}'s network on (enableCoordinator), or set mode to auto or overlay`,
      );
    }
    return {
      mode: "underlay",
      first: isFirstNic,
      table: isFirstNic ? firstTable : (kept ?? count + 98),
      podLink: vethName,
    };
  }
  const found = { interface: ifName, mode };
  if (isFirstNic) {
    const fix = `set mode to auto or underlay: overlay is for NICs beside the ${ifName} of another network`;
    throw unfit("coordinator must not run on the first interface in overlay mode", found, fix);
  }
  if (hasVeth) {
    throw unfit(
      "previous interface works in underlay mode",
      found,
      "set mode to auto or underlay for this network, too",
    );
  }
  // At the first NIC two interfaces count, which gives table 101.
  const table = kept ?? count + 99;
  return { mode: "overlay", first: table === firstTable, table, podLink: firstNic };
}

/** The number of interfaces that are up, and the current one. Loopback and tunnels, which have no broadcast, do not count. */
function countLinks({ links }: Side, ifName: string): number {
  const needed = iffBroadcast | iffMulticast;
  return links.filter(({ name, flags }) => (flags & needed) === needed && (name === ifName || (flags & iffUp) !== 0))
    .length;
}

/** The table to which a rule by the interface's addresses leads. */
export function ruledTable(pod: Side, ifName: string): number | undefined {
  const own = usableAddresses(pod, ifName);
  return pod.rules.find(
    ({ from, table }) =>
      table >= firstTable && table < 254 && from !== undefined && own.some((ip) => sameIp(ip, from.ip)),
  )?.table;
}

function unfit(message: string, found: Readonly<Record<string, string>>, fix: string): SpiderError {
  return new SpiderError("COORDINATOR_MODE_UNFIT", message, { details: { ...found, fix } });
}
