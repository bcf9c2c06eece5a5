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
