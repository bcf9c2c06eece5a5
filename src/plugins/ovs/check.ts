import { type Attachment, CniError, type CniInterface, type CniResult, cniCodes } from "#cni";
import { formatIp, formatPrefix, networkOf, samePrefix } from "#ip";
import type { Link, Netns } from "#linux";
import type { Ovs, PortSpec, Vlan } from "#ovsdb";

/**
 * Compares the links, addresses and routes of an earlier ADD with the kernel's, and returns the name of the host's end.
 * What later plugins have added is left out of account.
 *
 * @throws CniError naming the first thing that differs
 */
export function checkLinks(host: Netns, pod: Netns, { ifName, netns }: Attachment, previous: CniResult): string {
  const inside = previous.interfaces.find(({ name, sandbox }) => name === ifName && sandbox === netns);
  if (inside === undefined) throw differs("prevResult", { interface: ifName, sandbox: netns }, "absent");
  const podLink = checkVeth(pod, inside);
  const outside = previous.interfaces.find(
    ({ name, sandbox }) => (sandbox ?? "") === "" && host.rtnl.link(name)?.index === podLink.peerIndex,
  );
  if (outside === undefined)
    throw differs("host interface", previous.interfaces, "no peer of the container's interface");
  checkVeth(host, outside);

  const at = previous.interfaces.indexOf(inside);
  const addresses = pod.rtnl.addresses({ link: podLink.index });
  for (const { address, interface: of } of previous.ips) {
    if (of !== undefined && of !== at) continue;
    const found = addresses.some((one) => samePrefix(one.address, address));
    if (!found)
      throw differs(
        "address",
        formatPrefix(address),
        addresses.map((one) => formatPrefix(one.address)),
      );
  }
  checkRoutes(pod, previous);
  return outside.name;
}

/** A gateway that the result leaves out is not compared; the route may also have moved to a later plugin's table. */
function checkRoutes(pod: Netns, { routes }: CniResult): void {
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

/** Compares the port with what the configuration asks for. */
export function checkPort(ovs: Ovs, spec: PortSpec): void {
  if (!ovs.bridges().has(spec.bridge)) throw differs("bridge", spec.bridge, [...ovs.bridges().keys()]);
  const port = ovs.ports().get(spec.name);
  if (port === undefined || port.owner === undefined) throw differs("port", spec.name, port ?? "absent");
  if (port.bridge !== spec.bridge) throw differs("bridge of the port", spec.bridge, port.bridge);
  // vswitchd takes back an earlier error a moment after it has given the number: only the number counts.
  if (port.ofport === undefined || port.ofport <= 0)
    throw differs("state of the port", "in service", port.error ?? "new");
  if (!sameVlan(port.vlan, spec.vlan)) throw differs("VLAN of the port", spec.vlan, port.vlan);
}

function sameVlan(a: Vlan, b: Vlan): boolean {
  if (a.mode === "access") return b.mode === "access" && a.tag === b.tag;
  return b.mode === "trunk" && a.ids.length === b.ids.length && a.ids.every((id) => b.ids.includes(id));
}

function checkVeth({ rtnl }: Netns, { name, mac }: CniInterface): Link {
  const link = rtnl.link(name);
  if (link === undefined) throw differs("interface", name, "absent");
  if (link.kind !== "veth") throw differs(`kind of ${name}`, "veth", link.kind ?? "none");
  if (mac !== undefined && link.mac !== mac.toLowerCase()) throw differs(`MAC address of ${name}`, mac, link.mac);
  return link;
}

function differs(what: string, expected: unknown, found: unknown): CniError {
  return new CniError(cniCodes.failed, "the attachment is not as it was made", { details: { what, expected, found } });
}
