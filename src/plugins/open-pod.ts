import { CniError, cniCodes } from "#cni";
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
