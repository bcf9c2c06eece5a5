/** error: Pods fail now or will fail. warning: something works, but less well than it should. */
type Severity = "error" | "warning";

/** One thing that is wrong, and how to repair it. */
export interface Fault {
  /** One sentence that names the object and what was found. */
  readonly found: string;
  /** Shell commands that repair the fault when root runs them in this order, or that say how if that depends. */
  readonly fix: readonly string[];
}

/** One kind of fault, and how facts show it. */
export interface Check<Facts> {
  /** In kebab-case. It never changes: Events and users refer to it. */
  readonly id: string;
  readonly severity: Severity;
  /** What the check finds, and how that is repaired; for the reference page. */
  readonly finding: string;
  readonly remedy: string;
  /** Finds the faults. It is pure, and finds nothing if the facts that it needs could not be read. */
  readonly find: (facts: Facts) => readonly Fault[];
}

/** A fault with the check that found it and the place. */
export interface Finding extends Fault {
  readonly id: string;
  /** The node's name, or `cluster`. */
  readonly on: string;
  readonly severity: Severity;
}

/** Runs all checks of a table on the same facts. The findings are in the table's order. */
export function runChecks<Facts>(checks: readonly Check<Facts>[], facts: Facts, on: string): readonly Finding[] {
  return checks.flatMap(({ id, severity, find }) => find(facts).map((fault) => ({ id, on, severity, ...fault })));
}

/** The commands of a fix as one line for a shell. */
export function fixOnOneLine({ fix }: Fault): string {
  return fix.join(" && ");
}
