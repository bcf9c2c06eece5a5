/** Why the Pod has no networks. */
export interface Cause {
  /** A code of docs/reference/errors.md. */
  readonly code: string;
  /** The sentence of the CNI error and of the Event, without the advice. */
  readonly sentence: string;
  /** "" if none is known. */
  readonly advice: string;
  /** When the Pod's node reported it. Absent if the cause was worked out from what the API server has now. */
  readonly seenAt?: Date;
}
