import { hasCode } from "#base";
import { type Attachment, CniError, cniCodes } from "#cni";
import { type Netns, openNetns } from "#linux";

/** The container's namespace, to be disposed by the caller. Throws CniError 8 where it cannot be opened. */
export function openPod(netns: string): Netns {
  try {
    return openNetns(netns);
  } catch (cause) {
    throw new CniError(cniCodes.invalidNetns, "the container's network namespace cannot be opened", {
      details: { netns },
      cause,
    });
  }
}

/**
 * The container's namespace, in which the attachment's interface has to be made. Refused before anything is done where
 * there is one of this name: it belongs to an earlier ADD, which an undo of this one would destroy.
 *
 * @throws CniError 999, and CniError 8 as openPod does
 */
export function openFreePod({ netns, ifName }: Attachment): Netns {
  const pod = openPod(netns);
  if (pod.rtnl.link(ifName) === undefined) return pod;
  pod[Symbol.dispose]();
  throw new CniError(cniCodes.failed, "the container already has an interface of this name", {
    details: { interface: ifName, netns },
  });
}

/** The container's namespace, or undefined where nothing is left of it: no path, no file, or a file without a namespace. */
export function openPodIfThere(netns: string): Netns | undefined {
  if (netns === "") return undefined;
  try {
    return openNetns(netns);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "NOT_A_NETNS")) return undefined;
    throw error;
  }
}
