import type { Netns } from "#linux";
import { nodeRulePreference } from "#plugins";

/**
 * Removes the node's rules for tables of routes to Pods that have no Pod any more: such rules have no effect. Returns the
 * tables.
 */
export function removeNodeRules(host: Netns): readonly number[] {
  const { rtnl } = host;
  const removed = new Set<number>();
  for (const family of [4, 6] as const) {
    for (const { pref, table, from, to, fwmark } of rtnl.rules(family)) {
      const isOurs = pref === nodeRulePreference && from === undefined && to === undefined && fwmark === undefined;
      if (!isOurs || table === 0 || rtnl.routes({ family, table }).length > 0) continue;
      rtnl.deleteRule({ family, table, pref }, { tolerate: ["ENOENT"] });
      removed.add(table);
    }
  }
  return [...removed];
}
