import type { Logger, Signal } from "#base";
import type { CniRequest } from "#cni";
import { keyOf, type Pod, type Store } from "#kube";
import { podState } from "./pods.ts";
import { isSandboxThere, type Records, type SandboxRecord } from "./records.ts";

interface EndedOptions {
  readonly records: Pick<Records, "list">;
  /** Those of the node; they are known. */
  readonly pods: Pick<Store<Pod>, "get">;
  /** Carries out a call that the runtime did not make. */
  readonly perform: (request: CniRequest, o: Signal) => Promise<unknown>;
  readonly log: Logger;
}

/**
 * Takes down what is left of sandboxes that ended while this release was not on the node: another system's plugins had their
 * DEL, and none will come here. To be called once after a start. Never throws: what cannot be taken down is told, and stays.
 */
export async function takeDownEnded({ records, pods, perform, log }: EndedOptions, o: Signal): Promise<void> {
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

/** The DEL that its runtime would have made; everything else is on record. */
function delOf({ containerId, ifName, plugin, network: name, netns, pod }: SandboxRecord): CniRequest {
  const executable = plugin ?? "multus";
  const config = { cniVersion: "1.0.0", name, type: executable, raw: { name, type: executable } };
  const attachment = { containerId, ifName, netns: netns.path, pod: pod ?? undefined, args: new Map<string, string>() };
  return { verb: "DEL", executable, path: [], netnsOverride: false, config, ...attachment };
}
