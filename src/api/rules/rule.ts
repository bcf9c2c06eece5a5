import type { CelRule } from "../schema/crd.ts";
import type { Violation } from "./violation.ts";

/** One rule, written once: webhooks, the command line and plans run `check`, the CRD carries `cel`, the reference lists all. */
export interface Rule<C> {
  /** Stable name, for documents and tests. */
  readonly id: string;
  /** Where it is reported; `[*]` for an index. */
  readonly field: string;
  /** What must hold, as a sentence. */
  readonly message: string;
  /** Every way in which the case breaks the rule. Silent about what another row reports, so that each mistake is said once. */
  check(subject: C): readonly Violation[];
  /** The same rule, or a part of it, for the API server. */
  readonly cel?: CelRule;
}

/** The violations of all rules, in the order of the table. */
export function checkRules<C>(rules: readonly Rule<C>[], subject: C): readonly Violation[] {
  return rules.flatMap((rule) => rule.check(subject));
}

/**
 * The CEL of a table that belongs to one property of `spec`, or to `spec` itself, as `x-kubernetes-validations`. Each has the
 * row's message unless it makes a better one.
 */
export function celOf<C>(rules: readonly Rule<C>[], property?: string): readonly Omit<CelRule, "at">[] {
  return rules.flatMap(({ cel, message }) => {
    if (cel === undefined || cel.at !== property) return [];
    const { at: _, ...rest } = cel;
    return [{ message, ...rest }];
  });
}
