import { codeOf } from "#base";
import type { Attachment } from "#cni";
import type { Netns } from "#linux";
import { openPodIfThere } from "./open-pod.ts";

/**
 * Removes all addresses of the Pod's interface, so that it no longer answers for any, even if it is deleted late. Unlike setting
 * the interface down, this causes no event on the node, and the kernel does not wait.
 *
 * @returns false if the namespace no longer exists, and with it, as far as one can tell, the interface
 */
export function silence({ netns, ifName }: Pick<Attachment, "netns" | "ifName">, kind: string): boolean {
  using pod = openPodIfThere(netns);
  if (pod === undefined) return false;
  const link = pod.rtnl.link(ifName);
  if (link?.kind === kind) dropAddresses(pod, link.index);
  return true;
}

/**
 * Removes the addresses of a link in a namespace that is open already. If an earlier DEL deletes the link meanwhile, its
 * addresses are gone, too.
 */
export function dropAddresses({ rtnl }: Netns, link: number): void {
  try {
    const addresses = rtnl.addresses({ link });
    rtnl.batch((batch) => {
      // The kernel may delete other addresses of the subnet along with one.
      for (const { address } of addresses)
        batch.deleteAddress(link, address, { tolerate: ["EADDRNOTAVAIL", "ENODEV"] });
    });
  } catch (error) {
    if (codeOf(error) !== "ENODEV") throw error;
  }
}
