/**
 * Bounds of V8's heap, imported before anything else. Objects of a call live for milliseconds, and a burst of ADDs is over in
 * seconds: V8 would take 80 MB more for it, and keep them. Collecting more often costs less than that memory on every node.
 */
import { setFlagsFromString } from "node:v8";

// The young generation is bounded where Node is started (scripts/common/build.ts): V8 takes that bound only then.
// The next full collection is due at 1.5 times what lives, not at up to four times. At 1.3 times a burst's ADD costs a tenth more CPU
// for 3 MB less; at 1.8 times the agent's peak is 110 MB.
setFlagsFromString("--heap-growing-percent=50");
// The compiler before it is good enough for code that waits for the kernel; this one's threads and its code cost 7 MB.
setFlagsFromString("--no-turbofan");
