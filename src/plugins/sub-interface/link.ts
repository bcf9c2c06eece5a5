import { codeOf, SpiderError } from "#base";
import type { Attachment } from "#cni";
import type { Link, LinkSpec, Netns } from "#linux";
import { hostLinkName } from "../names.ts";
import { openPodIfThere } from "../open-pod.ts";
import { dropAddresses } from "../silence.ts";
import type { SubInterfaceConfig } from "./config.ts";

/** Where a sub-interface is made. */
export interface Place {
  readonly pod: Netns;
  /** The parent's namespace. */
  readonly home: Netns;
  readonly parent: Link;
}

/** The link in the form in which the kernel is asked for it. `requested`: its MAC address from the start. */
export function linkSpec(
  { mtuBytes, make }: SubInterfaceConfig,
  { parent, requested }: Pick<Place, "parent"> & { readonly requested: string | undefined },
  name: string,
): LinkSpec {
  return {
    name,
    kind: { ...make, parent: parent.index },
    ...(mtuBytes !== undefined && { mtuBytes }),
    ...(requested !== undefined && { mac: requested }),
  };
}

/**
 * Makes the link directly in the container's namespace. It stays down until it has its addresses.
 *
 * Older kernels also compare its name with those in the parent's namespace (`Rtnl.createLink`). If the name is taken there,
 * the link gets another one and is renamed in the container, which is slower (RCU).
 */
export async function createLink(
  c: SubInterfaceConfig,
  place: Place & { readonly requested: string | undefined },
  attachment: Attachment,
): Promise<Link> {
  const { ifName } = attachment;
  const { pod, home, parent } = place;
  const create = (name: string) => pod.rtnl.createLink({ ...linkSpec(c, place, name), parentNetns: home });
  try {
    return create(ifName);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw explain(error, c, { home, parent });
  }
  const temporary = temporaryName(attachment);
  // An interrupted ADD may have left it behind.
  if (pod.rtnl.link(temporary) !== undefined) await pod.rtnl.deleteLinksLater([temporary]);
  try {
    const link = create(temporary);
    pod.rtnl.setLink(link.index, { newName: ifName });
    return { ...link, name: ifName };
  } catch (error) {
    throw explain(error, c, { home, parent });
  }
}

/** Replaces an error number of the kernel by what it means for a sub-interface. */
function explain(error: unknown, { make }: SubInterfaceConfig, { home, parent }: Omit<Place, "pod">): unknown {
  const code = codeOf(error);
  const options = (fix: string) => ({ cause: error, details: { master: parent.name, fix } });
  if (code === "EOPNOTSUPP") {
    return new SpiderError("LINK_KIND_UNKNOWN", `the node's kernel has no ${make.kind} interfaces`, {
      ...options(`load the kernel module: modprobe ${make.kind === "vlan" ? "8021q" : make.kind}`),
    });
  }
  if (make.kind === "vlan" && code === "EEXIST") {
    const taken = home.rtnl.links().find((one) => one.vlanId === make.id && one.peerIndex === parent.index);
    const by = taken === undefined ? "another Pod" : `the interface ${taken.name}`;
    return new SpiderError("VLAN_TAKEN", `VLAN ${make.id} of ${parent.name} is already in use by ${by}`, {
      ...options("an interface has one sub-interface for each VLAN: for several Pods take macvlan with `master` on it"),
    });
  }
  if (code === "EBUSY" || code === "EINVAL") {
    const master = parent.master === undefined ? undefined : home.rtnl.link(parent.master)?.name;
    const user =
      master === undefined ? "interfaces of another kind or in passthru mode" : `${master}, whose port it is`;
    return new SpiderError("PARENT_BUSY", `no ${make.kind} interface can be made on ${parent.name}`, {
      ...options(`it is probably used by ${user}; give this network another \`master\``),
    });
  }
  return error;
}

/** Names, for people, the holder of a MAC address other than the container `except`; undefined if it is unknown. */
export type HolderOf = (mac: string, except: string) => string | undefined;

/**
 * Explains why the link cannot come up: on one parent only one link with a MAC address can be up, and the error names the other
 * one. At the next attempt a Pod gets another address; one with a fixed address has to wait until that link is gone.
 */
export function explainUp(
  error: unknown,
  { pod, home, parent }: Place,
  { mac, of, holderOf }: { readonly mac: string | undefined; readonly of: Attachment; readonly holderOf: HolderOf },
): unknown {
  if (codeOf(error) !== "EADDRINUSE" || mac === undefined) return error;
  const isOwn = ({ name }: Link) => home === pod && name === of.ifName;
  const has = (link: Link) => link.mac === mac && [link.index, link.peerIndex].includes(parent.index) && !isOwn(link);
  const beside = home.rtnl.links().find(has);
  const known = beside === undefined ? holderOf(mac, of.containerId) : `the interface ${beside.name}`;
  const fix =
    known === undefined
      ? `look for it in the node's other network namespaces (\`lsns -t net\`, \`nsenter --net=PATH ip link\`), and delete it`
      : `delete or change ${known}`;
  return new SpiderError("MAC_TAKEN", `another interface on ${parent.name} has the MAC address ${mac}`, {
    cause: error,
    details: {
      master: parent.name,
      holder: known ?? "an interface in a network namespace of which nothing is on record",
      fix: `${fix}; the runtime tries again, and a Pod that keeps no address gets another one then`,
    },
  });
}

/**
 * Deletes the link on another thread, because the kernel first waits 25 ms for packets on their way to a macvlan; setting it
 * down would take as long. When this returns, the link has no addresses any more; when the promise resolves, it is gone. An
 * absent link, or namespace, counts as deleted.
 */
export function removeLink({ make }: SubInterfaceConfig, attachment: Attachment): Promise<void> {
  using stack = new DisposableStack();
  const pod = openPodIfThere(attachment.netns);
  if (pod === undefined) return Promise.resolve();
  stack.use(pod);
  const links = [attachment.ifName, temporaryName(attachment)].flatMap((name) => pod.rtnl.link(name) ?? []);
  const own = links.filter(({ kind }) => kind === make.kind);
  for (const { index } of own) dropAddresses(pod, index);
  const open = stack.move();
  return pod.rtnl.deleteLinksLater(own.map(({ name }) => name)).finally(() => open.dispose());
}

function temporaryName({ containerId, ifName }: Attachment): string {
  return hostLinkName("sub", containerId, ifName);
}
