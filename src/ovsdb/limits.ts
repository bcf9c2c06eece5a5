/** Every bound of this module, in one place. */
export const limits = {
  /** The first snapshot of a bridge with some ten thousand ports is about 10 MB. */
  messageBytesMax: 64 * 1024 * 1024,
  /** Ports of one coalesced transaction. */
  batchMax: 64,
  /** Calls that wait for a transaction. */
  queueMax: 4_096,
  /** A server that does not answer within this is treated as gone. */
  answerMs: 10_000,
  reconnectFirstMs: 50,
  reconnectMaxMs: 1_000,
  patienceMs: 5_000,
} as const;
