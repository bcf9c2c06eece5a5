/** The largest value of a Kubernetes `int64` field: 2^63 − 1. */
const int64Max = 9_223_372_036_854_775_807n;

/** A count of addresses as it is shown in an `int64` status field: never more than 2^63 − 1, which a /64 exceeds. */
export function clampCount(count: bigint): bigint {
  return count > int64Max ? int64Max : count;
}
