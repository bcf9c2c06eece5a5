import type { Attachment, CniResult } from "#cni";
import type { Netns } from "#linux";
import type { Ovs, PortSpec, Vlan } from "#ovsdb";
import { checkAddresses, checkLink, differs, insideOf } from "../check.ts";

/**
 * Compares the links, addresses and routes of an earlier ADD with the kernel's, and returns the name of the host's end.
 * What later plugins have added is left out of account.
 *
 * @throws CniError naming the first thing that differs
 */
export function checkLinks(host: Netns, pod: Netns, attachment: Attachment, previous: CniResult): string {
  const { inside, at } = insideOf(previous, attachment);
  const podLink = checkLink(pod, inside, "veth");
  const outside = previous.interfaces.find(
    ({ name, sandbox }) => (sandbox ?? "") === "" && host.rtnl.link(name)?.index === podLink.peerIndex,
  );
  if (outside === undefined)
    throw differs("host interface", previous.interfaces, "no peer of the container's interface");
  checkLink(host, outside, "veth");
  checkAddresses(pod, podLink, previous, at);
  return outside.name;
}

/** Compares the port with what the configuration asks for. */
export function checkPort(ovs: Ovs, spec: PortSpec): void {
  if (!ovs.bridges().has(spec.bridge)) throw differs("bridge", spec.bridge, [...ovs.bridges().keys()]);
  const port = ovs.ports().get(spec.name);
  if (port === undefined || port.owner === undefined) throw differs("port", spec.name, port ?? "absent");
  if (port.bridge !== spec.bridge) throw differs("bridge of the port", spec.bridge, port.bridge);
  // vswitchd clears an earlier error a moment after it has set the number, so only the number counts.
  if (port.ofport === undefined || port.ofport <= 0)
    throw differs("state of the port", "in service", port.error ?? "new");
  if (!sameVlan(port.vlan, spec.vlan)) throw differs("VLAN of the port", spec.vlan, port.vlan);
}

function sameVlan(a: Vlan, b: Vlan): boolean {
  if (a.mode === "access") return b.mode === "access" && a.tag === b.tag;
  return b.mode === "trunk" && a.ids.length === b.ids.length && a.ids.every((id) => b.ids.includes(id));
}
