import { codeOf } from "#base";
import type { Attachment } from "#cni";
import type { Netns } from "#linux";
import { openPodIfThere } from "./open-pod.ts";

/**
 * Takes every address from the Pod's interface: it answers for none from here on, whenever it is deleted. Nothing on the
 * node notices, and the kernel waits for nothing, as it would to take the interface down.
 *
 * @returns false if the namespace is not there any more, and with it, as far as one can tell, the interface
 */
export function silence({ netns, ifName }: Pick<Attachment, "netns" | "ifName">, kind: string): boolean {
  using pod = openPodIfThere(netns);
  if (pod === undefined) return false;
  const link = pod.rtnl.link(ifName);
  if (link?.kind === kind) dropAddresses(pod, link.index);
  return true;
}

/**
 * As `silence` does, in a namespace that is open, to a link by its index. One that goes meanwhile, by an earlier DEL whose deletion
 * is still under way, takes its addresses along.
 */
export function dropAddresses({ rtnl }: Netns, link: number): void {
  try {
    const addresses = rtnl.addresses({ link });
    rtnl.batch((batch) => {
      // An address may take others of its subnet along.
      for (const { address } of addresses)
        batch.deleteAddress(link, address, { tolerate: ["EADDRNOTAVAIL", "ENODEV"] });
    });
  } catch (error) {
    if (codeOf(error) !== "ENODEV") throw error;
  }
}
