/**
 * Bounds of V8's heap, imported before anything else. A controller that reads 300,000 claims makes five times as much garbage
 * as it keeps: V8 would let the heap grow to several times what lives before it collects, and keep the pages.
 */
import { setFlagsFromString } from "node:v8";

// The young generation stays at 1 MB each way: what is read of a list is cut down object by object, and dies at once.
setFlagsFromString("--semi-space-growth-factor=1");
// The next full collection is due at 1.2 times what lives.
setFlagsFromString("--heap-growing-percent=20");
// What a collection frees goes back to the system.
setFlagsFromString("--optimize-for-size");
