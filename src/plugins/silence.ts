import { codeOf } from "#base";
import type { Attachment } from "#cni";
import type { Netns } from "#linux";
import { openPodIfThere } from "./open-pod.ts";

/**
 * Takes all addresses from the Pod's interface, so that it answers for none from now on, however late it is deleted. Unlike
 * setting the interface down, this is invisible to the node, and the kernel waits for nothing.
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
 * The same for a link by its index, in a namespace that is already open. If an earlier DEL deletes the link meanwhile, its
 * addresses go with it.
 */
export function dropAddresses({ rtnl }: Netns, link: number): void {
  try {
    const addresses = rtnl.addresses({ link });
    rtnl.batch((batch) => {
      // With an address, the kernel may delete others of its subnet.
      for (const { address } of addresses)
        batch.deleteAddress(link, address, { tolerate: ["EADDRNOTAVAIL", "ENODEV"] });
    });
  } catch (error) {
    if (codeOf(error) !== "ENODEV") throw error;
  }
}
