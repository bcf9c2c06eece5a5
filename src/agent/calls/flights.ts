import type { Span } from "#base";
import type { Verb } from "#cni";

/** What one CNI call did and how long each stage took: kept in memory, shown by `/v1/flights`, the lab and the bench. */
export interface Flight {
  readonly verb: Verb;
  /** The name under which we were called. */
  readonly executable: string;
  /** The name in the configuration. */
  readonly network: string;
  readonly containerId: string;
  readonly ifName: string;
  readonly pod: string;
  readonly startedAt: string;
  readonly totalMs: number;
  readonly error?: string;
  /** A foreign plugin of another call of ours made it. */
  readonly nested?: boolean;
  readonly spans: readonly Span[];
}

/** The last flights, oldest first. */
export class Flights {
  readonly #max: number;
  #flights: Flight[] = [];

  constructor(options: { readonly max: number }) {
    this.#max = options.max;
  }

  add(flight: Flight): void {
    this.#flights.push(flight);
    // A quarter at a time, so that keeping the bound costs nothing per call; one of three NICs has about 4 kB.
    if (this.#flights.length > this.#max * 1.25) this.#flights = this.#flights.slice(-this.#max);
  }

  list(): readonly Flight[] {
    return this.#flights.slice(-this.#max);
  }
}
