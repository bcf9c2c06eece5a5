import { formatIp, formatPrefix } from "#ip";
import type { Netns } from "#linux";

const allTables = 0;

/** What plugins make on a node, a line each: links, routes, rules and permanent neighbours. */
export function hostState({ rtnl }: Netns): readonly string[] {
  const families = [4, 6] as const;
  return [
    ...rtnl.links().map(({ name }) => `link ${name}`),
    ...families.flatMap((family) => [
      ...rtnl.routes({ family, table: allTables }).map(({ dst, table }) => `route ${table} ${formatPrefix(dst)}`),
      ...rtnl.rules(family).map((rule) => `rule ${JSON.stringify(rule)}`),
      ...rtnl.neighbours({ family }).flatMap(({ ip, permanent }) => (permanent ? [`neighbour ${formatIp(ip)}`] : [])),
    ]),
    // The kernel's own come and go with a link's state.
  ].filter((line) => !/ (fe80|ff00):/.test(line));
}
