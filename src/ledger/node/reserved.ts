import type { SpiderReservedIP } from "#api";
import { formatError, type Logger } from "#base";
import { type Family, IpSet, parseIpSet } from "#ip";
import type { Store } from "#kube";

/** The addresses that no pool may hand out, by family. They are computed again only after a SpiderReservedIP changed. */
export function reservedSets(store: Store<SpiderReservedIP>, log: Logger): (family: Family) => IpSet {
  let cached = new Map<Family, IpSet>();
  store.changed(() => {
    cached = new Map();
  });
  const compute = (family: Family) =>
    store
      .list()
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map(({ metadata, spec }) => {
        try {
          return parseIpSet(
            (spec.ips ?? []).filter((text) => text.includes(":") === (family === 6)),
            family,
          );
        } catch (err) {
          log.warn({ reservedIP: metadata.name, err: formatError(err) }, "a SpiderReservedIP is ignored");
          return IpSet.empty(family);
        }
      })
      .reduce((all, one) => all.union(one), IpSet.empty(family));
  return (family) => {
    const set = cached.get(family) ?? compute(family);
    cached.set(family, set);
    return set;
  };
}
