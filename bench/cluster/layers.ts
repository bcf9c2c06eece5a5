export interface CreatesPlan {
  /** Creates of each layer in each round. */
  readonly creates: number;
  /** How many rounds there are. A round goes through all layers. */
  readonly rounds: number;
  /** Connections, each with one create at a time. */
  readonly connections: number;
}

/** The layers of checks that the API server makes. Each has all checks of the layer before, and more. */
export const layers = ["ConfigMap", "no schema", "schema", "schema and rules", "schema, rules and policies"] as const;
export type Layer = (typeof layers)[number];

/** One layer in one round. CPU time and memory are for each create. */
export interface CreatesOutcome {
  readonly layer: Layer;
  readonly perSecond: number;
  readonly serverCpuMs: number;
  readonly etcdCpuMs: number;
  readonly clientCpuMs: number;
  /** Memory that the API server allocates. Even on a busy machine it hardly differs from run to run. */
  readonly serverKb: number;
}
