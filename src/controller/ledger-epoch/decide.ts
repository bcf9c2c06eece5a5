import { completeUid, isLost, partlyLost } from "#api";

/** How long pools stay closed at most. */
export const closedMsMax = 60_000;

/** The state of the cluster at one look. */
export interface EpochView {
  /** UID of the claims' CustomResourceDefinition; undefined: it does not exist now. */
  readonly crdUid: string | undefined;
  /** The UID with which the ledger was last complete, or a token that says how it was lost; undefined: it was never complete. */
  readonly recorded: string | undefined;
  /** The API server was restored to an earlier state, and the Lease does not say so yet. */
  readonly rewound: boolean;
  /** Without pools nobody can get an address. */
  readonly hasPools: boolean;
  /** Some pool is closed, other than those that were opened just now. */
  readonly isClosed: boolean;
  /** Nodes whose agent runs and has not made its claims again yet. */
  readonly missing: readonly string[];
  /** Some node could not claim addresses of its Pods because they are in no pool. */
  readonly inPart: boolean;
  /** How long this process has seen the pools closed. */
  readonly closedForMs: number;
  /**
   * Whether pools are as a former Spiderpool left them: `seen`, with only its records in their statuses; `closed`, if they are
   * closed already, so that every agent knows.
   */
  readonly former: "none" | "seen" | "closed";
}

/** What the leader does next about the ledger as a whole. */
export type EpochStep =
  /** Nothing was lost, or nothing is installed yet. */
  | { readonly kind: "complete" }
  /** A controller sees this cluster for the first time: nothing can have been lost. */
  | { readonly kind: "record"; readonly uid: string }
  /** The pools are lost, too: they will be closed at their creation, until agents have reported. */
  | { readonly kind: "wait" }
  /** Give no address until all agents have reported the addresses of their sandboxes. */
  | { readonly kind: "closed"; readonly why: string }
  | { readonly kind: "open"; readonly recorded: string; readonly why: string }
  /** No agent gives an address now: put the addresses that Pods have from the former system into the ledger, then open pools. */
  | { readonly kind: "take-over"; readonly uid: string };

/** Decides the next step for the ledger as a whole. Pure. */
export function decideEpoch(view: EpochView): EpochStep {
  const { crdUid, recorded, rewound: isRewound, hasPools, isClosed, missing, inPart, closedForMs, former } = view;
  if (isRewound) return { kind: "closed", why: "the API server was put back to an earlier state" };
  if (crdUid !== undefined && (former === "closed" || (former === "seen" && recorded === undefined))) {
    // No timeout here: a missing agent may be the former system's, which goes on giving addresses.
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
    // Addresses of the missing nodes may be in pools that are created later.
    return { kind: "open", recorded: isLost(recorded) ? partlyLost(recorded, crdUid) : crdUid, why };
  }
  return { kind: "closed", why: "nodes make their claims again" };
}
