/** The file beside the shim that tells it where the agent's socket is. */
export const shimSettingsFile = ".spiderpool-socket";

interface ShimSettings {
  /** At most 107 bytes, as for every unix socket. */
  readonly socketPath: string;
  /** How long the shim waits for an agent that does not accept connections. */
  readonly waitMs?: { readonly add: number; readonly del: number; readonly status: number };
  /** How long it waits for the agent's answer. It must be less than the 2 to 4 minutes of runtimes. */
  readonly replyMs?: number;
}

/** An agent that is being replaced is away for some seconds. Runtimes wait for minutes, so no call has to fail for that. */
const defaultWaitMs = { add: 30_000, del: 30_000, status: 1_000 };

/** The text of the settings file. Throws RangeError for a path that no socket can have. */
export function formatShimSettings({ socketPath, waitMs = defaultWaitMs, replyMs = 110_000 }: ShimSettings): string {
  if (!/^\/[^\n]*$/.test(socketPath) || Buffer.byteLength(socketPath) > 107) {
    throw new RangeError(`'socketPath' must be an absolute path of at most 107 bytes: current value is ${socketPath}`);
  }
  return `${socketPath}\n${waitMs.add} ${waitMs.del} ${waitMs.status} ${replyMs}\n`;
}
