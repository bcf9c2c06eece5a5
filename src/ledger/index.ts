/**
 * The ledger: one SpiderIPAddress (a claim) for each address in use. Creating the object allocates the address, deleting it
 * releases the address; the only lock is that names are unique in the API server. The module has the writes of a node's agent
 * (`Ledger`), the views that the controller derives from claims (`poolStatus`, `poolUsage`), and the rule by which the owner of a kept
 * address still wants it (`readOwner`).
 *
 * It does not choose pools, which `#ipam` does, and it knows nothing of kernels or containers. The programs import it.
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
export { type Grants, grantsOf, ungranted, type WaitingNode } from "./grants.ts";
export { Intents } from "./intents.ts";
export { Ledger } from "./ledger.ts";
export { readOwner, virtualMachines } from "./owner.ts";
export { formatAction, type ReleaseReason } from "./releases.ts";
export type { Claimed, ClaimRequest } from "./request.ts";
export { reservedSets } from "./reserved.ts";
export { endpointOf, type OwnerFact, parseOwner, type StickyOwner, statefulSetFact, stickyOwnerOf } from "./sticky.ts";
export { isTakenOver, type TakenOver, takenOverDraft } from "./taken-over.ts";
export { type PoolCondition, type PoolStatus, type PoolUse, poolStatus, poolUsage, setAsideOf } from "./views.ts";
export { type Wanted, wantedOf } from "./wanted.ts";
