import { type Ip, type Prefix, prefixContains } from "#ip";

/** A route of a pool or a Pod. It always names its gateway. */
export interface Route {
  readonly dst: Prefix;
  readonly gw: Ip;
}

/** An address of a NIC, with its gateway and routes. */
export interface Addressed {
  /** The address with the prefix length of its pool's subnet. */
  readonly address: Prefix;
  readonly gateway: Ip | undefined;
  /** Whether the default route through the gateway is left out. */
  readonly cleanGateway: boolean;
  readonly routes: readonly Route[];
}

/** Adds each route of the Pod's annotation to the first address whose subnet contains the route's gateway. */
export function attachRoutes<T extends Addressed>(addresses: readonly T[], routes: readonly Route[]): readonly T[] {
  const owners = routes.map((route) => addresses.find(({ address }) => prefixContains(address, route.gw)));
  return addresses.map((address) => ({
    ...address,
    routes: [...address.routes, ...routes.filter((_, at) => owners[at] === address)],
  }));
}

/** The routes of the Pod's annotation that none of its NICs gets, which is no reason to fail its ADD. */
export function unmatchedRoutes(addresses: readonly Prefix[], routes: readonly Route[]): readonly Route[] {
  return routes.filter(({ gw }) => !addresses.some((address) => prefixContains(address, gw)));
}

/** The routes of an answer: those of the pool, those of the Pod's annotation, and the default route through the gateway. */
export function routesOf({ routes, gateway, cleanGateway, address }: Addressed): readonly Route[] {
  if (gateway === undefined || cleanGateway) return routes;
  const all: Ip = address.ip.family === 4 ? { family: 4, value: 0 } : { family: 6, value: 0n };
  return [...routes, { dst: { ip: all, bits: 0 }, gw: gateway }];
}
