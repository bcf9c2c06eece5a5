import { AddressIndex, type SpiderIPPool, type SpiderSubnet } from "#api";
import type { Store } from "#kube";

/** The objects of a store by their addresses, kept up to date from now on. */
export function indexOf<T extends SpiderIPPool | SpiderSubnet>(store: Store<T>): AddressIndex<T> {
  const index = AddressIndex.of(store.list());
  store.changed((name, now) => {
    if (now === undefined) index.delete(name);
    else index.put(now);
  });
  return index;
}
