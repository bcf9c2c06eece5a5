import type { LabHandle } from "../launch.ts";

interface Span {
  readonly stage: string;
  readonly startMs: number;
  readonly endMs: number;
}

/** A call in the agent's answer to `GET /v1/flights`. */
export interface Flight {
  readonly verb: string;
  readonly startedAt: string;
  readonly totalMs: number;
  readonly error?: string;
  readonly spans: readonly Span[];
}

const ask = `const http = require("node:http");
http.get({ socketPath: "/var/run/spidernet/spiderpool.sock", path: "/v1/flights" }, (answer) => answer.pipe(process.stdout));`;

/** The flight records of one node's agent. */
export async function readFlights(lab: LabHandle, node: string): Promise<readonly Flight[]> {
  return JSON.parse(await lab.run({ node, argv: [process.execPath, "-e", ask] }));
}

/** The mean time line of successful calls as text: a bar for each stage, from its mean start to its mean end. */
export function formatWaterfall(flights: readonly Flight[], widthChars = 44): readonly string[] {
  if (flights.length === 0) return ["no call on record"];
  const totalMs = mean(flights.map((flight) => flight.totalMs));
  const stages = [...new Set(flights.flatMap(({ spans }) => spans.map(({ stage }) => stage)))];
  const bars = stages.map((stage) => {
    const own = flights
      .map(({ spans }) => spans.filter((span) => span.stage === stage))
      .filter((spans) => spans.length > 0);
    const startMs = mean(own.map((spans) => Math.min(...spans.map((span) => span.startMs))));
    const endMs = mean(own.map((spans) => Math.max(...spans.map((span) => span.endMs))));
    return { stage, startMs, endMs };
  });
  const column = (ms: number) => Math.min(widthChars, Math.round((ms / totalMs) * widthChars));
  const lines = bars
    .sort((a, b) => a.startMs - b.startMs || a.endMs - b.endMs)
    .map(({ stage, startMs, endMs }) => {
      const bar = " ".repeat(column(startMs)) + "█".repeat(Math.max(1, column(endMs) - column(startMs)));
      return `${stage.padEnd(12)}${bar.slice(0, widthChars + 1).padEnd(widthChars + 2)}${(endMs - startMs).toFixed(2).padStart(7)} ms`;
    });
  return [
    ...lines,
    `${"ADD".padEnd(12)}${" ".repeat(widthChars + 2)}${totalMs.toFixed(2).padStart(7)} ms${flights.length > 1 ? `, mean of ${flights.length}` : ""}`,
  ];
}

/** Merges concurrent calls into one: each stage from its first begin to its last end. None if there are none. */
export function asOne(flights: readonly Flight[]): readonly Flight[] {
  if (flights.length === 0) return [];
  const offsetOf = ({ startedAt }: Flight) => Date.parse(startedAt);
  const startMs = Math.min(...flights.map(offsetOf));
  const spans = flights.flatMap((flight) => {
    const offsetMs = offsetOf(flight) - startMs;
    return flight.spans.map(({ stage, ...span }) => ({
      stage,
      startMs: offsetMs + span.startMs,
      endMs: offsetMs + span.endMs,
    }));
  });
  const totalMs = Math.max(...spans.map(({ endMs }) => endMs));
  return [{ verb: "ADD", startedAt: new Date(startMs).toISOString(), totalMs, spans }];
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
