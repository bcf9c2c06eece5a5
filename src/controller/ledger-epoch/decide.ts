import { completeUid, isLost, partlyLost } from "#api";

/** Pools are closed for so long at most. */
export const closedMsMax = 60_000;

/** What one look at the cluster found. */
export interface EpochView {
  /** UID of the claims' definition; undefined: it does not exist now. */
  readonly crdUid: string | undefined;
  /** The UID with which the ledger was last complete, or how it was lost; undefined: it never was. */
  readonly recorded: string | undefined;
  /** The API server was put back to an earlier state, and that is not on record yet. */
  readonly rewound: boolean;
  /** Nobody can get an address while there is none. */
  readonly hasPools: boolean;
  /** A pool is closed that was not opened just now. */
  readonly isClosed: boolean;
  /** Nodes whose agent is there and has not done its part. */
  readonly missing: readonly string[];
  /** A node has done its part but for addresses that are in no pool. */
  readonly inPart: boolean;
  /** For how long this process has seen the pools closed. */
  readonly closedForMs: number;
  /**
   * Pools are as a former system left them: `closed` already, so that all who give addresses can know; `seen`, where it has
   * only left its records.
   */
  readonly former: "none" | "seen" | "closed";
}

/** What the leader does next about the ledger as a whole. */
export type EpochStep =
  /** Nothing was lost; or nothing of ours is here yet. */
  | { readonly kind: "complete" }
  /** The first time that a controller sees this cluster: there is nothing that could have been lost. */
  | { readonly kind: "record"; readonly uid: string }
  /** The pools are lost, too: they will be created closed, and agents tell then. */
  | { readonly kind: "wait" }
  /** No address is given until all agents have told what their sandboxes have. */
  | { readonly kind: "closed"; readonly why: string }
  | { readonly kind: "open"; readonly recorded: string; readonly why: string }
  /** Nobody gives an address now: what Pods have from the former system is to be put into the ledger, and pools opened. */
  | { readonly kind: "take-over"; readonly uid: string };

/** What is to be done about the ledger as a whole. Pure. */
export function decideEpoch(view: EpochView): EpochStep {
  const { crdUid, recorded, rewound: isRewound, hasPools, isClosed, missing, inPart, closedForMs, former } = view;
  if (isRewound) return { kind: "closed", why: "the API server was put back to an earlier state" };
  if (crdUid !== undefined && (former === "closed" || (former === "seen" && recorded === undefined))) {
    // No time is up here: an agent that was not heard may be the former system's, and it goes on giving addresses.
    if (former === "closed" && missing.length === 0) return { kind: "take-over", uid: crdUid };
    return { kind: "closed", why: "addresses of a former system are taken over" };
  }
  if (recorded === undefined) return crdUid === undefined ? { kind: "complete" } : { kind: "record", uid: crdUid };
  if (crdUid === undefined) return { kind: "closed", why: "the claims' CustomResourceDefinition does not exist" };
  const isServed = completeUid(recorded) === crdUid;
  if (isServed && !(isLost(recorded) && isClosed)) return { kind: "complete" };
  if (!hasPools) return { kind: "wait" };
  if (missing.length === 0) {
    const why = inPart
      ? "every node has made its claims again, but for addresses of no pool"
      : "every node has made its claims again";
    return { kind: "open", recorded: inPart ? partlyLost(recorded, crdUid) : crdUid, why };
  }
  if (closedForMs >= closedMsMax) {
    const why = `nodes did not answer in time: ${missing.slice(0, 10).join(", ")}`;
    // What they have may be in pools that come later.
    return { kind: "open", recorded: isLost(recorded) ? partlyLost(recorded, crdUid) : crdUid, why };
  }
  return { kind: "closed", why: "nodes make their claims again" };
}
