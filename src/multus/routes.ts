import { CniError, type CniResult, type CniRoute, cniCodes } from "#cni";
import { type Family, type Ip, ipFromValue } from "#ip";
import type { NetworkSelection } from "./types.ts";

/** What happens to the default routes of one delegate's interface, once it is attached. */
export interface DefaultRoutePlan {
  /** The families whose default routes are taken away … */
  readonly remove: readonly Family[];
  /** … and the gateways that default routes are then made through. */
  readonly add: readonly Ip[];
}

/**
 * Who holds the Pod's default routes (NPWG multi-network specification §4.1.2.1.9, `default-route`); one plan for each
 * delegate, in their order. A network with gateways of a family replaces its own default route of that family; one with an
 * empty list keeps its own in every family for which no gateway is given anywhere. All others lose theirs in each family
 * that is so claimed. Throws CniError 7 where two networks, or two gateways, claim one family.
 */
export function planDefaultRoutes(
  delegates: readonly { readonly selection?: NetworkSelection; readonly displayName: string }[],
): readonly DefaultRoutePlan[] {
  const wishes = delegates.map(({ selection }) => selection?.defaultRoute);
  const keepers = wishes.filter((wish) => wish?.length === 0).length;
  const claimed = ([4, 6] as const).filter((family) => {
    const gateways = wishes.flatMap((wish) => wish ?? []).filter((ip) => ip.family === family).length;
    if (gateways > 1 || keepers > 1) {
      throw new CniError(cniCodes.invalidConfig, "multus does not support ECMP for default-route", {
        details: { networks: delegates.filter((_, at) => wishes[at] !== undefined).map((one) => one.displayName) },
      });
    }
    return gateways > 0 || keepers > 0;
  });
  const given = new Set(wishes.flatMap((wish) => wish ?? []).map((ip) => ip.family));
  return wishes.map((wish) => ({
    remove: claimed.filter((family) => wish?.length !== 0 || given.has(family)),
    add: wish ?? [],
  }));
}

/** A delegate's result after its plan was carried out. */
export function applyDefaultRoutes(result: CniResult, { remove, add }: DefaultRoutePlan): CniResult {
  const kept = result.routes.filter((route) => !isDefault(route) || !remove.includes(route.dst.ip.family));
  const added = add.map((gw) => ({ dst: { ip: ipFromValue(gw.family, 0n), bits: 0 }, gw }));
  return { ...result, routes: [...kept, ...added] };
}

/** True for 0.0.0.0/0 and ::/0. */
export function isDefault({ dst }: CniRoute): boolean {
  return dst.bits === 0;
}
