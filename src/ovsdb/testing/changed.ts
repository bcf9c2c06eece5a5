import type { Ovs } from "../types.ts";

/** Resolves as soon as `look` is true of the picture of Open vSwitch; it looks now and after each change. */
export async function changed(ovs: Pick<Ovs, "changed">, look: () => boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const check = () => void (look() && resolve());
  const unsubscribe = ovs.changed(check);
  check();
  await promise.finally(unsubscribe);
}
