import type { Check } from "../check.ts";
import type { NodeFacts } from "./facts.ts";
import { fileChecks } from "./file-checks.ts";
import { hostChecks } from "./host-checks.ts";
import { ovsChecks } from "./ovs-checks.ts";

/** All checks of a node. `docs/reference/doctor.md` is generated from this table. */
export const nodeChecks: readonly Check<NodeFacts>[] = [...fileChecks, ...ovsChecks, ...hostChecks];
