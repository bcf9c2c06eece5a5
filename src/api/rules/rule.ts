import type { CelRule } from "../schema/crd.ts";
import type { Violation } from "./violation.ts";

/** One rule, written once: webhooks, `validate` and `plan` run `check`, the CRD carries `cel`, the reference lists all rules. */
export interface Rule<C> {
  /** Stable name, for the reference and tests. */
  readonly id: string;
  /** The field that violations name; `[*]` stands for an index. */
  readonly field: string;
  /** What must hold, in words. */
  readonly message: string;
  /** All violations of the rule. Does not repeat what another rule reports, so that each mistake is reported once. */
  check(subject: C): readonly Violation[];
  /** The same rule, or part of it, for the API server. */
  readonly cel?: CelRule;
}

/** The violations of all rules, in the order of the table. */
export function checkRules<C>(rules: readonly Rule<C>[], subject: C): readonly Violation[] {
  return rules.flatMap((rule) => rule.check(subject));
}

/** How many objects that one object is in conflict with are named. */
const namedMax = 10;

/** The violations of the first objects in conflict: enough to see what is wrong, where thousands may be. */
export function firstOf<T>(objects: Iterable<T>, check: (object: T) => Violation | undefined): readonly Violation[] {
  return Iterator.from(objects)
    .map(check)
    .filter((found) => found !== undefined)
    .take(namedMax)
    .toArray();
}

/** Those rules that the API server checks itself, by CEL. */
export function withCel<C>(rules: readonly Rule<C>[]): readonly Rule<C>[] {
  return rules.filter(({ cel }) => cel !== undefined);
}

/**
 * The CEL rules of a table for one property of `spec`, or for `spec` itself, as `x-kubernetes-validations`. Each has its row's
 * message unless it computes its own.
 */
export function celOf<C>(rules: readonly Rule<C>[], property?: string): readonly Omit<CelRule, "at">[] {
  return rules.flatMap(({ cel, message }) => {
    if (cel === undefined || cel.at !== property) return [];
    const { at: _, ...rest } = cel;
    return [{ message, ...rest }];
  });
}
