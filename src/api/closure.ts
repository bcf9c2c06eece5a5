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
 * A value of the annotation `ledgerEpoch`, and of `ledgerClosed` from then on: claims and pools are gone, while Pods may run on with
 * their addresses. Pools are created closed until agents have told what their sandboxes have. `id` tells losses apart.
 */
export function lostToken(id: string): string {
  return `${lost}${id}`;
}

/** Whether a value of `ledgerEpoch` is a `lostToken`. */
export function isLost(epoch: string | undefined): epoch is string {
  return epoch?.startsWith(lost) === true;
}
