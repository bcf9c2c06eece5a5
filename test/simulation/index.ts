/**
 * The simulation of a whole cluster: the real programs on a world that is made of data, under seeded randomness. It judges the
 * product by the law of addresses. How it is built, and how to add a fault: docs/reference/simulation.md.
 */

import type { History } from "./history.ts";
import type { Mistake } from "./mistakes.ts";
import { loadVariant } from "./modules.ts";
import type { Focus } from "./random-history.ts";
import { shrink } from "./shrink.ts";

export { mistakes } from "./mistakes.ts";

type Variant = Pick<
  typeof import("./variant.ts"),
  "runHistory" | "randomHistory" | "formatHistory" | "allKinds" | "isKind" | "parseHistory"
>;
type Outcome = Awaited<ReturnType<Variant["runHistory"]>>;

/** A history that breaks the law, and what is broken. */
interface Failure {
  readonly violation: string;
  /** As it came. */
  readonly seed: string;
  /** What is left of it when all that is not needed is left out. */
  readonly history: History;
  /** To be replayed, one line for each thing. */
  readonly text: string;
}

/** The simulation of one variant of the product: as it is, or with a mistake planted. */
export class Simulation {
  readonly #variant: Variant;

  private constructor(variant: Variant) {
    this.#variant = variant;
  }

  static async load(mistake?: Mistake): Promise<Simulation> {
    return new Simulation((await loadVariant(new URL("./variant.ts", import.meta.url), mistake)) as Variant);
  }

  run(history: History): Promise<Outcome> {
    return this.#variant.runHistory(history);
  }

  /** Throws RangeError for a name of nothing that happens. */
  focusOn(names: readonly string[]): Focus {
    return names.map((name) => {
      if (this.#variant.isKind(name)) return name;
      throw new RangeError(
        `nothing of the name '${name}' happens; the kinds are ${this.#variant.allKinds().join(", ")}`,
      );
    });
  }

  parse(text: string): History {
    return this.#variant.parseHistory(text);
  }

  /**
   * Random histories, seed after seed, until `stepsMin` steps are done, one breaks the law, or `seen` says stop.
   * Returns the steps done and the failure as it came.
   */
  async search(
    seed: string,
    stepsMin: number,
    seen: (outcome: Outcome, seed: string) => void = () => {},
    focus: Focus = [],
  ): Promise<{
    readonly steps: number;
    readonly failure: { readonly history: History; readonly violation: string } | undefined;
  }> {
    let steps = 0;
    for (let run = 0; steps < stepsMin; run++) {
      const history = this.#variant.randomHistory(`${seed}.${run}`, { focus });
      const outcome = await this.run(history);
      steps += outcome.steps;
      seen(outcome, history.seed);
      if (outcome.violation !== undefined) return { steps, failure: { history, violation: outcome.violation } };
    }
    return { steps, failure: undefined };
  }

  /** Leaves out of a failing history what is not needed to break the same law. */
  async minimise({ history, violation }: { readonly history: History; readonly violation: string }): Promise<Failure> {
    const { seed } = history;
    const ops = await shrink(history.ops, async (rest) => {
      const outcome = await this.run({ seed, ops: rest });
      return outcome.violation !== undefined && lawOf(outcome.violation) === lawOf(violation);
    });
    const least = { seed, ops };
    const again = await this.run(least);
    return { violation: again.violation ?? violation, seed, history: least, text: this.#variant.formatHistory(least) };
  }
}

/** Which law: what stands before the colon. */
function lawOf(violation: string): string {
  return violation.split(":", 1)[0] ?? "";
}
