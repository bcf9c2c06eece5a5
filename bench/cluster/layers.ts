export interface CreatesPlan {
  /** Creates of each layer in each round. */
  readonly creates: number;
  /** All layers in turn, so often. */
  readonly rounds: number;
  /** Connections, each with one create at a time. */
  readonly connections: number;
}

/** What the server has to check, in the order in which it is more and more. */
export const layers = ["ConfigMap", "no schema", "schema", "schema and rules", "schema, rules and policies"] as const;
export type Layer = (typeof layers)[number];

/** One layer in one round. CPU time and memory are for each create. */
export interface CreatesOutcome {
  readonly layer: Layer;
  readonly perSecond: number;
  readonly serverCpuMs: number;
  readonly etcdCpuMs: number;
  readonly clientCpuMs: number;
  /** What the API server allocates: hardly any two runs differ in it, however busy the machine is. */
  readonly serverKb: number;
}
