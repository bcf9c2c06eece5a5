/** `node:timers/promises` as simulated processes see it: their event loop turns when the world's time goes on. */
export function setImmediate(): Promise<void> {
  return new Promise((resolve) => globalThis.setImmediate(resolve));
}
