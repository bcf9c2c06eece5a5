import { formatError, type Logger } from "#base";
import { type History, shape } from "./history.ts";
import { checkRest } from "./law/rest.ts";
import { Violation } from "./law/violation.ts";
import { People } from "./people/people.ts";
import { foretell } from "./people/plans.ts";
import { simulateGlobals } from "./runtime/globals.ts";
import { Random } from "./runtime/random.ts";
import { World } from "./world.ts";

interface Outcome {
  /** What the law says is wrong; undefined: nothing. */
  readonly violation: string | undefined;
  readonly steps: number;
  /** On the clock of the world. */
  readonly atMs: number;
}

/**
 * How long after the last thing from outside it is looked whether the world is at rest. At the last look it must be: by then
 * agents have looked through the ledger, and static Pods without a mirror have been given up.
 */
const looksAtMs = [150_000, 400_000, 1_300_000] as const;
/** The same where it was at rest before: nothing is to be found out then, only Pods try again. */
const looksAgainAtMs = [100_000, 200_000, 300_000, 400_000] as const;

/** Lets a history happen, waits until the world is at rest, and says what is wrong. */
export async function runHistory(history: History, options: { readonly log?: Logger } = {}): Promise<Outcome> {
  using _globals = simulateGlobals();
  const world = new World({ seed: history.seed, nodes: shape.nodes, controllers: shape.controllers, ...options });
  try {
    const people = new People(world);
    people.plan(history);
    const last = history.ops.at(-1)?.atMs ?? 0;
    await world.time.run(last + 1_000, () => world.isBroken);
    if (!world.isBroken) {
      people.heal();
      // What was lost is found by looking through the ledger, which agents do soon after they start and then hourly.
      const restarted = new Random(history.seed, "heal").chance(0.5);
      for (const node of restarted ? world.nodes : []) {
        world.killAgent(node);
        world.startAgent(node);
      }
      const looks = restarted ? looksAtMs : [...looksAtMs, 4_200_000];
      await untilRest(world, looks);
      const asked = history.ops.findLast((op) => op.kind === "plan");
      if (!world.isBroken && asked !== undefined) {
        people.calm();
        await untilRest(world, looks);
      }
      const judge = world.isBroken || asked === undefined ? undefined : foretell(world, people, asked);
      if (judge !== undefined) await untilRest(world, looks);
      if (!world.isBroken) judge?.();
      const rushes = history.ops.some((op) => op.kind === "rush");
      if (!world.isBroken && rushes) {
        people.rush();
        await untilRest(world, looksAgainAtMs);
      }
      // One node wants more than there is: whatever it has come to believe taken, and is not, would stay free.
      if (!world.isBroken && (rushes || !restarted)) {
        people.crowd(new Random(history.seed, "greedy").int(shape.nodes));
        await untilRest(world, looksAgainAtMs);
      }
    }
    return { violation: world.violations[0]?.message, steps: world.time.steps, atMs: world.time.nowMs };
  } catch (error) {
    const violation = error instanceof Violation ? error.message : `the simulation failed: ${formatError(error)}`;
    if (!(error instanceof Violation)) console.error(error);
    return { violation, steps: world.time.steps, atMs: world.time.nowMs };
  } finally {
    world.end();
  }
}

async function untilRest(world: World, looks: readonly number[]): Promise<void> {
  const startMs = world.time.nowMs;
  for (const [at, afterMs] of looks.entries()) {
    await world.time.run(startMs + afterMs, () => world.isBroken);
    if (world.isBroken) return;
    try {
      return checkRest(world);
    } catch (error) {
      if (at === looks.length - 1) throw error;
    }
  }
}
