import type { Logger, Signal } from "#base";
import type { CniRequest } from "#cni";
import { keyOf, type Pod, type Store } from "#kube";
import { podState } from "../cluster/pods.ts";
import { metaPlugin } from "./chain.ts";
import { isSandboxThere, type Records, type SandboxRecord } from "./records.ts";

interface EndedSandboxesOptions {
  readonly records: Pick<Records, "list">;
  /** The node's Pods; they must have been read. */
  readonly pods: Pick<Store<Pod>, "get">;
  /** Runs a call that the runtime did not make. */
  readonly perform: (request: CniRequest, o: Signal) => Promise<unknown>;
  readonly log: Logger;
}

/**
 * Removes what is left of sandboxes that ended while this release was not on the node. Another system's plugins got their DEL, so
 * none will come here. To be called once after a start. Never throws: a sandbox that cannot be removed is logged and stays.
 */
export async function takeDownEndedSandboxes(
  { records, pods, perform, log }: EndedSandboxesOptions,
  o: Signal,
): Promise<void> {
  for (const record of records.list()) {
    const { pod, containerId } = record;
    if (pod === null || isSandboxThere(record) || podState(pods.get(keyOf(pod)), pod.uid) !== "dead") continue;
    try {
      await perform(delOf(record), o);
      log.info({ pod, containerId }, "taken down: its sandbox had ended, and the Pod is gone");
    } catch (err) {
      log.warn({ pod, containerId, err }, "what is left of a sandbox that ended could not be taken down");
    }
  }
}

/** The DEL that the runtime would have made; everything else is in the record. */
function delOf({ containerId, ifName, plugin, network: name, netns, pod }: SandboxRecord): CniRequest {
  const executable = plugin ?? metaPlugin;
  const config = { cniVersion: "1.0.0", name, type: executable, raw: { name, type: executable } };
  const attachment = { containerId, ifName, netns: netns.path, pod: pod ?? undefined, args: new Map<string, string>() };
  return { verb: "DEL", executable, path: [], netnsOverride: false, config, ...attachment };
}
