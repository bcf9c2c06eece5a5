/** What statuses of several kinds have in common. */

/** A condition that holds, before it is known since when. */
interface Holds<T extends string> {
  readonly type: T;
  readonly reason: string;
  readonly message: string;
}

interface Condition<T extends string> extends Holds<T> {
  readonly status: "True";
  readonly lastTransitionTime: string;
}

/** With the time at which each began to hold. `before`: as they are written. */
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

/** A value that JSON.stringify writes digit by digit: int64 goes to 2^63 − 1, and 9223372036854775808 is refused. */
export function rawInteger(value: bigint): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(value));
}
