/**
 * Bounds of V8's heap, imported before anything else. A controller that reads 300,000 claims makes five times as much garbage
 * as it keeps: V8 would let the heap grow to several times what lives before it collects.
 */
import { setFlagsFromString } from "node:v8";

setFlagsFromString("--max-semi-space-size=4");
// The next full collection is due at 1.2 times what lives.
setFlagsFromString("--heap-growing-percent=20");
