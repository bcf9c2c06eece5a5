/**
 * Bounds of V8's young generation, imported before anything else. By default it grows to 48 MB in a burst of ADDs and stays so;
 * objects of a call live for milliseconds, and collecting them more often costs less than that memory on every node.
 */
import { setFlagsFromString } from "node:v8";

setFlagsFromString("--max-semi-space-size=4");
setFlagsFromString("--semi-space-growth-factor=1");
