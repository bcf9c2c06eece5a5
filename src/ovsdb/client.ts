import { type Clock, type Logger, SpiderError } from "#base";
import type { Ovs } from "./types.ts";

export interface OvsOptions {
  /** `unix:/var/run/openvswitch/db.sock`, a bare absolute path, or `tcp:host:port`. */
  readonly endpoint: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long a call waits for an absent database. @default 5000 */
  readonly patienceMs?: number;
}

/** Connects in the background and stays connected until disposed of. */
export function createOvs(options: OvsOptions): Ovs & AsyncDisposable {
  throw new SpiderError("NOT_YET", "createOvs is not written yet", { details: { endpoint: options.endpoint } });
}
