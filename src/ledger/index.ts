/**
 * The ledger: one SpiderIPAddress for each address in use. Creating that object is allocating, deleting it is releasing;
 * the API server's uniqueness of names is the only lock. Here are the writes of a node's agent (`Ledger`) and the views
 * that the controller makes of claims (`poolStatus`, `poolUsage`).
 *
 * It will not choose pools (`#ipam` decides) and knows nothing of kernels or containers. Imported by the programs.
 */
export type { Answer } from "./answer.ts";
export type { AuditWatcher } from "./audit.ts";
export {
  type Claim,
  type ClaimDraft,
  claimKey,
  claimLabels,
  claimOf,
  detached,
  foundInUse,
  type Holder,
  isHeir,
  isHeld,
  isMine,
  isShrinkHold,
  partsOf,
  shrinkHoldReason,
} from "./claim.ts";
export { closureOf, setClosure } from "./closure.ts";
export { Intents } from "./intents.ts";
export type { Kept } from "./kept.ts";
export { Ledger } from "./ledger.ts";
export { formatAction, type ReleaseReason } from "./releases.ts";
export type { Claimed, ClaimRequest, LedgerOptions } from "./request.ts";
export { reservedSets } from "./reserved.ts";
export {
  endpointOf,
  type OwnerFact,
  parseOwner,
  type StickyOwner,
  statefulSetFact,
  stickyOwnerOf,
} from "./sticky.ts";
export { isTakenOver, type TakenOver, takenOverDraft } from "./taken-over.ts";
export { type PoolCondition, type PoolStatus, type PoolUse, poolStatus, poolUsage } from "./views.ts";
export { type Wanted, wantedOf } from "./wanted.ts";
