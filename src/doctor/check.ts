/** error: Pods fail or will fail. warning: something is weaker than it should be. */
type Severity = "error" | "warning";

/** One thing that is wrong. */
export interface Fault {
  /** One sentence: which object, what was found. */
  readonly found: string;
  /** Commands for a shell as root, one per line; run in order they make the fault go away, or say what does if that depends. */
  readonly fix: readonly string[];
}

/** One thing that may be wrong, and how it is told from facts. */
export interface Check<Facts> {
  /** kebab-case; never changes. */
  readonly id: string;
  readonly severity: Severity;
  /** For the reference page: what the check finds, and how that is mended. */
  readonly finding: string;
  readonly remedy: string;
  /** Pure. Facts that could not be read are absent: then it finds nothing. */
  readonly find: (facts: Facts) => readonly Fault[];
}

/** A fault that a check found, with where. */
export interface Finding extends Fault {
  readonly id: string;
  /** The node's name, or `cluster`. */
  readonly on: string;
  readonly severity: Severity;
}

/** Runs all checks of a table over the same facts, in the table's order. */
export function runChecks<Facts>(checks: readonly Check<Facts>[], facts: Facts, on: string): readonly Finding[] {
  return checks.flatMap(({ id, severity, find }) => find(facts).map((fault) => ({ id, on, severity, ...fault })));
}

/** The commands as one line that can be pasted. */
export function fixOnOneLine({ fix }: Fault): string {
  return fix.join(" && ");
}
