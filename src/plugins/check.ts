import { type Attachment, CniError, type CniInterface, type CniResult, cniCodes } from "#cni";
import { formatIp, formatPrefix, networkOf, samePrefix } from "#ip";
import type { Link, Netns } from "#linux";

/** The error for something of an attachment that is not as ADD made it. */
export function differs(what: string, expected: unknown, found: unknown): CniError {
  return new CniError(cniCodes.failed, "the attachment is not as it was made", { details: { what, expected, found } });
}

/** The previous result that a call must have. Throws CniError 7 if there is none. */
export function requirePrevious(previous: CniResult | undefined): CniResult {
  if (previous !== undefined) return previous;
  throw new CniError(cniCodes.invalidConfig, "Required prevResult missing", {
    details: { fix: "list the plugin behind the one that makes the interface" },
  });
}

/** The container's own interface among those of a result, and its index there. Throws CniError 999. */
export function insideOf(
  { interfaces }: CniResult,
  { ifName, netns }: Attachment,
): { readonly inside: CniInterface; readonly at: number } {
  const at = interfaces.findIndex(({ name, sandbox }) => name === ifName && sandbox === netns);
  const inside = interfaces[at];
  if (inside === undefined) throw differs("prevResult", { interface: ifName, sandbox: netns }, "absent");
  return { inside, at };
}

/** Compares a link's kind and MAC address. Throws CniError 999 naming the first thing that differs. */
export function checkLink({ rtnl }: Netns, { name, mac }: CniInterface, kind: string): Link {
  const link = rtnl.link(name);
  if (link === undefined) throw differs("interface", name, "absent");
  if (link.kind !== kind) throw differs(`kind of ${name}`, kind, link.kind ?? "none");
  if (mac !== undefined && link.mac !== mac.toLowerCase()) throw differs(`MAC address of ${name}`, mac, link.mac);
  return link;
}

/**
 * Looks for the addresses that a result gives to the interface at index `at`, and for its routes. What later plugins have
 * added is left out of account. Throws CniError 999 naming the first one that is absent.
 */
export function checkAddresses(pod: Netns, link: Link, { ips, routes }: CniResult, at: number): void {
  const addresses = pod.rtnl.addresses({ link: link.index });
  for (const { address, interface: of } of ips) {
    if (of !== undefined && of !== at) continue;
    const found = addresses.some((one) => samePrefix(one.address, address));
    if (!found)
      throw differs(
        "address",
        formatPrefix(address),
        addresses.map((one) => formatPrefix(one.address)),
      );
  }
  checkRoutes(pod, routes);
}

/** A gateway that the result leaves out is not compared; the route may also have moved to a later plugin's table. */
function checkRoutes(pod: Netns, routes: CniResult["routes"]): void {
  for (const { dst, gw } of routes) {
    const present = pod.rtnl.routes({ family: dst.ip.family, table: 0 });
    const found = present.some(
      (route) =>
        samePrefix(route.dst, networkOf(dst)) &&
        (gw === undefined || (route.gw !== undefined && formatIp(route.gw) === formatIp(gw))),
    );
    if (!found) throw differs("route", formatPrefix(dst), "absent");
  }
}
