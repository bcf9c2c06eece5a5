// `npm run check`: types and lint only.
import { runChecks } from "./checks.ts";

process.exitCode = runChecks() ? 0 : 1;
