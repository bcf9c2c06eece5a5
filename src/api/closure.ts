const takeOver = "take-over-";

/**
 * A value of the annotation `ledgerClosed`: pools stay closed until the addresses that Pods have from a former system are in the
 * ledger, without a time limit. `id` tells closures apart.
 */
export function takeOverToken(id: string): string {
  return `${takeOver}${id}`;
}

/** Whether a value of `ledgerClosed` is a `takeOverToken`. */
export function isTakeOver(closed: string | undefined): boolean {
  return closed?.startsWith(takeOver) === true;
}

const lost = "lost-";

/**
 * A value of three annotations: `ledgerEpoch`, `ledgerClosed` of pools created after a loss, and `ledgerClosed` of Nodes whose
 * claims were given up. Claims and pools are gone, while Pods may go on using their addresses. New pools are closed until agents
 * have reported the addresses of their sandboxes. `id` tells losses apart.
 */
export function lostToken(id: string): string {
  return `${lost}${id}`;
}

/** Whether a value of `ledgerEpoch` or `ledgerClosed` is a `lostToken`, or a `partlyLost` one. */
export function isLost(token: string | undefined): token is string {
  return token?.startsWith(lost) === true;
}

/**
 * A value of `ledgerEpoch`: the ledger with this UID has every address in use that belongs to a pool, but Pods also use addresses
 * of no pool. Adding addresses to a pool therefore closes it again. `before`: the value until now.
 */
export function partlyLost(before: string, uid: string): string {
  const [id = ""] = (isLost(before) ? before.slice(lost.length) : before).split("@");
  return `${lost}${id}@${uid}`;
}

/** From a value of `ledgerEpoch`, the UID with which the ledger was last complete, except perhaps for addresses of no pool. */
export function completeUid(epoch: string | undefined): string | undefined {
  return isLost(epoch) ? epoch.split("@")[1] : epoch;
}

/** A value of a Node's `ledgerClosed`: its agent has done its part of the closure `token`, except for addresses of no pool. */
export function doneInPart(token: string): string {
  return `${token} in part`;
}
