/** What is loaded anew for each variant of the product: see modules.ts. */
export { formatHistory, parseHistory } from "./history.ts";
export { allKinds, isKind, randomHistory } from "./random-history.ts";
export { runHistory } from "./run.ts";
