// `npm run check`: types and lint only.
import { runChecks } from "./checks.ts";
import { readFlags } from "./options.ts";

readFlags("npm run check: checks types and lint.", {});
process.exitCode = (await runChecks()) ? 0 : 1;
