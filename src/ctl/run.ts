import type { Cluster } from "./cluster.ts";
import type { Io } from "./io.ts";
import type { OutputFormat } from "./output.ts";

/** The context of a command's action. */
export interface Context {
  readonly io: Io;
  readonly cluster: Cluster;
  readonly output: OutputFormat;
  /** The value of `-n`; undefined if it is not given. */
  readonly namespace?: string | undefined;
}

/** An action returns the exit status. */
type Action = (context: Context) => Promise<number>;

/**
 * Runs a command's action with the cluster that the command line selects. `formats: false` is for a command whose `-o` is not a
 * format: its action reads `-o` itself.
 */
export type Run = (action: Action, options?: { readonly formats?: boolean }) => Promise<void>;
