import { formatError, hasCode, newest } from "#base";
import { askAgent } from "../agent.ts";

/** The flight records have the largest part. */
const flightCharsMax = 4_000_000;
const questions = ["status", "doctor", "faults", "flights", "log", "metrics"] as const;

/** What this node's agent tells of itself. What it refuses has the reason in place of the answer. */
export async function* agentFacts(socket: string, signal: AbortSignal): AsyncGenerator<object> {
  for (const about of questions) {
    try {
      yield { about, answer: bounded(await askAgent(socket, `/v1/${about}`, { signal })) };
    } catch (error) {
      if (!hasCode(error, "AGENT_REFUSED")) throw error;
      yield { about, error: formatError(error) };
    }
  }
}

function bounded(answer: unknown): unknown {
  return Array.isArray(answer) ? newest(answer, flightCharsMax, (one) => JSON.stringify(one).length) : answer;
}
