/** Helpers for the statuses of several kinds. */

/** A condition that holds, without the time since when. */
interface Holds<T extends string> {
  readonly type: T;
  readonly reason: string;
  readonly message: string;
}

interface Condition<T extends string> extends Holds<T> {
  readonly status: "True";
  readonly lastTransitionTime: string;
}

/** Adds the time at which each condition began to hold. `before`: the conditions in the object. */
export function since<T extends string>(
  now: readonly Holds<T>[],
  before: readonly { readonly type: T; readonly lastTransitionTime: string }[] = [],
  at: Date,
): readonly Condition<T>[] {
  return now.map((condition) => {
    const known = before.find(({ type }) => type === condition.type);
    const lastTransitionTime = known?.lastTransitionTime ?? at.toISOString().replace(/\.\d+Z$/, "Z");
    return { ...condition, status: "True", lastTransitionTime };
  });
}

/** A value that JSON.stringify writes with all digits: a rounded 2^63 would exceed int64, and the API server would refuse it. */
export function rawInteger(value: bigint): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(value));
}
