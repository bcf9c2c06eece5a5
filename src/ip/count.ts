/** The largest value of a Kubernetes `int64` field: 2^63 − 1. */
const int64Max = 9_223_372_036_854_775_807n;

/** Limits a count of addresses to what an `int64` status field can hold, 2^63 − 1: a /64 has more. */
export function clampCount(count: bigint): bigint {
  return count > int64Max ? int64Max : count;
}
