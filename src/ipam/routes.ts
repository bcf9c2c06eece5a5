import { type Ip, type Prefix, prefixContains } from "#ip";

/** A route of a pool or a Pod; its gateway is never implied. */
export interface Route {
  readonly dst: Prefix;
  readonly gw: Ip;
}

/** One address given to a NIC, with what goes with it. */
export interface Addressed {
  /** The address with the prefix length of its pool's subnet. */
  readonly address: Prefix;
  readonly gateway: Ip | undefined;
  /** True: no default route through the gateway. */
  readonly cleanGateway: boolean;
  readonly routes: readonly Route[];
}

/**
 * Gives each route of the Pod's `routes` annotation to the first address whose subnet contains its gateway. Routes whose
 * gateway is in no subnet are handed back in `unmatched`: worth a log line, no reason to fail.
 */
export function attachRoutes<T extends Addressed>(
  addresses: readonly T[],
  routes: readonly Route[],
): { readonly addresses: readonly T[]; readonly unmatched: readonly Route[] } {
  const owners = routes.map((route) => addresses.find(({ address }) => prefixContains(address, route.gw)));
  return {
    addresses: addresses.map((address) => ({
      ...address,
      routes: [...address.routes, ...routes.filter((_, at) => owners[at] === address)],
    })),
    unmatched: routes.filter((_, at) => owners[at] === undefined),
  };
}

/** The routes of an answer in their order: those of the pool, those of the Pod, then the default route through the gateway. */
export function routesOf({ routes, gateway, cleanGateway, address }: Addressed): readonly Route[] {
  if (gateway === undefined || cleanGateway) return routes;
  const all: Ip = address.ip.family === 4 ? { family: 4, value: 0 } : { family: 6, value: 0n };
  return [...routes, { dst: { ip: all, bits: 0 }, gw: gateway }];
}
