/**
 * The ledger: one SpiderIPAddress (a claim) for each address in use. Creating the object allocates the address, deleting it
 * releases the address; the only lock is that names are unique in the API server. `claims` has what a claim is, how it is written, and
 * the rule by which the owner of a kept address still wants it (`readOwner`); `node` what an agent does with the claims of its node
 * (`Ledger`); `views` what the controller derives from all of them (`poolStatus`, `poolUsage`).
 *
 * It does not choose pools, which `#ipam` does, and it knows nothing of kernels or containers. The programs import it.
 */
export { type Answer, answerOf } from "./claims/answer.ts";
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
  userOf,
} from "./claims/claim.ts";
export { closureOf, setClosure } from "./claims/closure.ts";
export { readOwner, virtualMachines } from "./claims/owner.ts";
export {
  endpointOf,
  type OwnerFact,
  parseOwner,
  type StickyOwner,
  statefulSetFact,
  stickyOwnerOf,
} from "./claims/sticky.ts";
export { isTakenOver, type TakenOver, takenOverDraft } from "./claims/taken-over.ts";
export type { AuditWatcher } from "./node/audit.ts";
export { Intents } from "./node/intents.ts";
export { Ledger } from "./node/ledger.ts";
export { formatAction, type ReleaseReason } from "./node/releases.ts";
export type { Claimed, ClaimRequest } from "./node/request.ts";
export { reservedSets } from "./node/reserved.ts";
export { type Wanted, wantedOf } from "./node/wanted.ts";
export { endpointDraft, endpointNics, nicsInOrder } from "./views/endpoint-nics.ts";
export { type Grants, grantsOf, ungranted, type WaitingNode } from "./views/grants.ts";
export { type PoolCondition, type PoolStatus, type PoolUse, poolStatus, poolUsage, setAsideOf } from "./views/views.ts";
