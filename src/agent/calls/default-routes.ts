import { CniError, cniCodes } from "#cni";
import { formatIp, ipFromValue } from "#ip";
import { mainTable, openNetns } from "#linux";
import type { DefaultRoutePlan } from "#multus";

/**
 * Sets a Pod's default routes on one of its interfaces: removes those of the named families from the main table, and adds those
 * through the given gateways. Throws CniError 7 for a gateway that is not reachable through the interface.
 */
export function moveDefaultRoutes(netns: string, ifName: string, { remove, add }: DefaultRoutePlan): void {
  using pod = openNetns(netns);
  for (const family of remove) {
    for (const route of pod.rtnl.routes({ family, table: mainTable, link: ifName })) {
      if (route.dst.bits > 0) continue;
      const { dst, gw, metric } = route;
      pod.rtnl.deleteRoute(
        { dst, dev: ifName, ...(gw !== undefined && { gw }), ...(metric !== undefined && { metric }) },
        { tolerate: ["ESRCH"] },
      );
    }
  }
  for (const gw of add) {
    try {
      pod.rtnl.addRoute({ dst: { ip: ipFromValue(gw.family, 0n), bits: 0 }, gw, dev: ifName });
    } catch (cause) {
      throw new CniError(cniCodes.invalidConfig, "the default route that the annotation asks for cannot be made", {
        details: {
          interface: ifName,
          field: "default-route",
          found: formatIp(gw),
          allowed: "a gateway in the network of one of the interface's addresses",
        },
        cause,
      });
    }
  }
}
