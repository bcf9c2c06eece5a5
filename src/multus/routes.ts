import { CniError, type CniResult, type CniRoute, cniCodes } from "#cni";
import { type Family, type Ip, ipFromValue } from "#ip";
import type { NetworkSelection } from "./types.ts";

/** What is done to the default routes of one delegate's interface when it is attached. */
export interface DefaultRoutePlan {
  /** The families whose default routes are removed. */
  readonly remove: readonly Family[];
  /** The gateways of the default routes that are then added. */
  readonly add: readonly Ip[];
}

/**
 * Which network has the Pod's default routes (`default-route`, NPWG multi-network specification §4.1.2.1.9). Returns one plan
 * per delegate, in their order. A network that names gateways of a family gets default routes through them instead of its own.
 * A network with an empty list keeps its own default route of each family that no network names a gateway of. All other
 * networks lose their default routes of these families. Throws CniError 7 if two networks or two gateways claim a family.
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

/** The result of a delegate, changed by its plan. */
export function applyDefaultRoutes(result: CniResult, { remove, add }: DefaultRoutePlan): CniResult {
  const kept = result.routes.filter((route) => !isDefault(route) || !remove.includes(route.dst.ip.family));
  const added = add.map((gw) => ({ dst: { ip: ipFromValue(gw.family, 0n), bits: 0 }, gw }));
  return { ...result, routes: [...kept, ...added] };
}

/** True for 0.0.0.0/0 and ::/0. */
export function isDefault({ dst }: CniRoute): boolean {
  return dst.bits === 0;
}
