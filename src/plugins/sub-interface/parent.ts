import { SpiderError } from "#base";
import type { Family } from "#ip";
import type { Link, Netns } from "#linux";
import { invalid } from "../decode.ts";
import { nodeInterfaces } from "../node-interfaces.ts";
import type { SubInterfaceConfig } from "./config.ts";

/**
 * Finds the parent of the sub-interface: `master`, else the link of the default route.
 *
 * @throws SpiderError `PARENT_UNKNOWN` if it is absent, `PARENT_DOWN` if it carries nothing; CniError 7 for an `mtu`
 * that it does not have
 */
export function findParent(home: Netns, { master, mtuBytes, linkInContainer }: SubInterfaceConfig): Link {
  const where = linkInContainer ? "the container" : "the node";
  const parent = master === undefined ? defaultRouteLink(home) : home.rtnl.link(master);
  if (parent === undefined) {
    throw new SpiderError("PARENT_UNKNOWN", `${where} has no interface to make the Pod's interface on`, {
      details: {
        master: master ?? "none given, and there is no default route",
        existing: nodeInterfaces(home),
        fix: "correct `master` in the network's configuration, or make the interface",
      },
    });
  }
  if (!parent.up) {
    throw new SpiderError("PARENT_DOWN", `the interface ${parent.name} of ${where} is down`, {
      details: { master: parent.name, fix: `ip link set ${parent.name} up` },
    });
  }
  if (mtuBytes !== undefined && mtuBytes > parent.mtuBytes) {
    throw invalid("mtu", mtuBytes, `0 to ${parent.mtuBytes}, the MTU of ${parent.name}`);
  }
  return parent;
}

/** The link of the default route with the lowest metric, of IPv4 before IPv6. */
function defaultRouteLink({ rtnl }: Netns): Link | undefined {
  for (const family of [4, 6] satisfies Family[]) {
    const [best] = rtnl
      .routes({ family })
      .filter(({ dst, type }) => dst.bits === 0 && type === unicast)
      .sort((a, b) => (a.metric ?? 0) - (b.metric ?? 0));
    const dev = best?.dev ?? best?.nextHops[0]?.dev;
    if (dev !== undefined) return rtnl.link(dev);
  }
  return undefined;
}

const unicast = 1;
