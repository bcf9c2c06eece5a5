import type { Detection } from "../detection.ts";

/**
 * Times for tests: an answer may be late because whoever carries it, or the test itself, had no processor for a while, and
 * silence must not be taken for a free address then. Gateways that are there answer long before theirs is over.
 */
export const patience = { conflictMsMax: 1_500, gatewayMsMax: 30_000 } as const satisfies Partial<Detection>;
/** The same where a gateway does not answer: the whole time is waited for. */
export const shortPatience = { ...patience, gatewayMsMax: 500 } as const satisfies Partial<Detection>;
