// `npm run check`: types and lint only.
import { runChecks } from "./common/checks.ts";
import { readFlags } from "./common/flags.ts";

readFlags("npm run check: checks types and lint.", {});
process.exitCode = (await runChecks()) ? 0 : 1;
