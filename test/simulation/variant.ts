/** What is loaded anew for each variant of the product: see modules.ts. */
export { allKinds, formatHistory, isKind, parseHistory, randomHistory } from "./history.ts";
export { runHistory } from "./run.ts";
