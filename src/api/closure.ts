const takeOver = "take-over-";

/**
 * A value of the annotation `ledgerClosed`: what Pods have from a former system is put into the ledger first, however long that
 * takes. `id` tells closures apart.
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
 * A value of the annotation `ledgerEpoch`, of `ledgerClosed` of pools that are created from then on, and of Nodes whose claims were
 * given up: claims and pools are gone, while Pods may run on with their addresses. Pools are created closed until agents have told
 * what their sandboxes have. `id` tells losses apart.
 */
export function lostToken(id: string): string {
  return `${lost}${id}`;
}

/** Whether a value of `ledgerEpoch` or `ledgerClosed` is a `lostToken`, or a `partlyLost` one. */
export function isLost(token: string | undefined): token is string {
  return token?.startsWith(lost) === true;
}

/**
 * A value of `ledgerEpoch`: the ledger with this UID has every address of Pods that a pool has. Others are in use and in no pool:
 * whatever adds addresses to pools closes them again. `before`: the value until now.
 */
export function partlyLost(before: string, uid: string): string {
  const [id = ""] = (isLost(before) ? before.slice(lost.length) : before).split("@");
  return `${lost}${id}@${uid}`;
}

/** The UID with which the ledger was last complete, or complete but for addresses of no pool, by a value of `ledgerEpoch`. */
export function completeUid(epoch: string | undefined): string | undefined {
  return isLost(epoch) ? epoch.split("@")[1] : epoch;
}

/** A value of `ledgerClosed` of a Node: its agent has done its part of the closure `token`, and some of its addresses are in no pool. */
export function doneInPart(token: string): string {
  return `${token} in part`;
}
