import { annotations } from "#api";
import {
  abortable,
  type Clock,
  FairQueue,
  formatError,
  KeyedLock,
  type Logger,
  type Signal,
  Tasks,
  within,
  withTimeout,
} from "#base";
import { type Attachment, hintMark, sentenceOf } from "#cni";
import { formatIp, formatPrefix } from "#ip";
import { routesAskedBy, unmatchedRoutes } from "#ipam";
import {
  type EventRecorder,
  type KubeClient,
  keyOf,
  mayRepeat,
  metadataOf,
  type Pod,
  pods,
  retry,
  type Store,
  subjectOf,
} from "#kube";
import {
  type Attached,
  addedInterfaceMessage,
  addressNotGivenMessage,
  formatNetworkStatus,
  networkNotFound,
  networkStatusAnnotation,
} from "#multus";
import type { Endpoints } from "../addresses/endpoints.ts";
import { podState } from "../cluster/pods.ts";
import type { AttachedDelegate } from "../sandboxes/recording.ts";
import { isSandboxThere, recordedResult, type SandboxRecord } from "../sandboxes/records.ts";
import { readDeviceInfo, recordedDeviceInfoFile } from "./device-info.ts";

/** Views wait for a pause between CNI calls, but no longer than this: a node without pauses must show its Pods, too. */
const pauseMsMax = 2_000;
/** Only metadata is asked for in answers to writes: the watch brings the Pod. */
const unreadPods = metadataOf(pods);
/** How many Pods have their views written at a time. */
const writersMax = 4;
/** How long writing a view is tried. After that, the next ADD of the Pod writes it. */
const publishMsMax = 120_000;

interface PodViewsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tasks: Tasks;
  readonly events: EventRecorder;
  readonly endpoints: Endpoints;
  readonly pods: Store<Pod>;
  /** Resolves when no CNI call is at work. */
  readonly idle: () => Promise<void>;
}

/** Writes SpiderEndpoint, network-status and Events of an ADD after its answer. Users read them; no decision depends on them. */
export class PodViews {
  readonly #options: PodViewsOptions;
  readonly #client: KubeClient;
  /** One write at a time for each Pod, because two of its NICs may be added at once. */
  readonly #writers = new KeyedLock();
  readonly #slots = new FairQueue({ slots: writersMax, maxWaiting: Number.MAX_SAFE_INTEGER });

  readonly #publishing: Tasks;

  constructor(options: PodViewsOptions) {
    this.#options = options;
    this.#client = options.client.forViews();
    this.#publishing = new Tasks(options.log);
    options.tasks.spawn("views", async (signal) => {
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      await this.#publishing.stop();
    });
    // Its claims are still known then: they are released when its sandbox is gone, too.
    options.pods.changed((_key, now, before) => {
      if (before !== undefined && !isEnding(before) && (now === undefined || isEnding(now)))
        this.#publish(before, (o) => options.endpoints.restore(before, o), { pauseMs: 0 });
    });
  }

  /** Resolves when every view is written, or when the signal aborts. */
  async idle({ signal }: Signal): Promise<void> {
    await abortable(this.#publishing.idle(), signal).catch(() => {});
  }

  /** Writes all views of an ADD that succeeded. */
  added(attached: readonly AttachedDelegate[], pod: Pod): void {
    const shown = attached.map(({ delegate: { displayName, master }, result, deviceInfo }) => ({
      displayName,
      master,
      result,
      deviceInfo,
    }));
    this.#publish(pod, (o) => {
      this.#record(attached, pod);
      return this.#write(shown, pod, o);
    });
  }

  /** Writes only the Pod's endpoint: another plugin attaches the Pod, or one of its claims was made again. */
  addressed(pod: Pod): void {
    this.#publish(pod, (o) => this.#options.endpoints.write(pod, o));
  }

  /**
   * Writes the views of ADDs after whose answer the agent was killed. Such a Pod has no network-status, which is written last.
   * To be called when the ledger has recalled its claims and the Pods are known.
   */
  resume(records: readonly SandboxRecord[]): void {
    for (const record of records) {
      const pod = record.pod === null ? undefined : this.#options.pods.get(keyOf(record.pod));
      const isAnswered = record.complete && record.cut !== true && record.plugin === undefined;
      if (pod === undefined || !isAnswered || podState(pod, record.pod?.uid ?? "") !== "alive") continue;
      if (pod.metadata.annotations?.[networkStatusAnnotation] !== undefined || !isSandboxThere(record)) continue;
      this.#publish(pod, (o) => this.#write(attachedBy(record, this.#options.log), pod, o));
    }
  }

  #publish(pod: Pod, write: (o: Signal) => Promise<void>, { pauseMs = pauseMsMax } = {}): void {
    const { clock, log } = this.#options;
    this.#publishing.spawn("publish", async (stopping) => {
      using signal = withTimeout(
        stopping,
        publishMsMax,
        () => new Error("the views of a Pod were not written in time"),
      );
      try {
        if (pauseMs > 0) await within(this.#options.idle(), pauseMs, { clock, signal });
        using _slot = await this.#slots.enter(pod.metadata.namespace ?? "", { signal });
        await this.#writers.run(pod.metadata.uid, () => write({ signal }), { signal });
      } catch (err) {
        if (stopping.aborted) return;
        log.warn({ pod: keyOf(pod.metadata), err: formatError(err) }, "a Pod's views were not written");
      }
    });
  }

  async #write(attached: readonly Attached[], pod: Pod, o: Signal): Promise<void> {
    const { endpoints, clock } = this.#options;
    const isMade = await endpoints.create(pod, o);
    // It holds for this Pod only: another one of that name keeps its endpoint. And where it stands, all stands.
    await retry((again) => this.#writeStatus(attached, pod, again), { ...o, clock, retryable: mayRepeat });
    if (!isMade) await endpoints.write(pod, o);
  }

  #record(attached: readonly AttachedDelegate[], pod: Pod): void {
    const record = (type: "Normal" | "Warning", reason: string, message: string | undefined) =>
      message !== undefined && this.#options.events.record(subjectOf(pods, pod), { type, reason, message });
    for (const { delegate, result } of attached) {
      record("Normal", "AddedInterface", addedInterfaceMessage(delegate, result));
      record("Warning", "AddressNotGiven", addressNotGivenMessage(delegate, result));
    }
    const given = attached.flatMap(({ result }) => result.ips.map(({ address }) => address));
    for (const { dst, gw } of unmatchedRoutes(given, routesAskedBy(pod.metadata.annotations ?? {}))) {
      const route = `${formatPrefix(dst)} via ${formatIp(gw)} of annotation '${annotations.routes}'`;
      record("Warning", "RouteLeftOut", `no NIC has the route ${route}: its gateway is in no NIC's subnet`);
    }
  }

  /** Records an Event on the Pod with the same sentence as the answer to the runtime. */
  failed({ pod: ref, netns }: Attachment, error: unknown): void {
    const pod = ref && this.#options.pods.get(keyOf(ref));
    if (pod === undefined) return;
    const { code, message } = sentenceOf(error);
    const reason = reasons[code] ?? "NetworkFailed";
    const cause = causeOf(code, message, netns);
    const { name, namespace = "" } = pod.metadata;
    this.#options.events.record(subjectOf(pods, pod), {
      type: "Warning",
      reason,
      message: `${message}${hintMark}spiderpoolctl explain pod ${name} -n ${namespace}`,
      annotations: { [annotations.errorCode]: code },
      ...(cause !== undefined && { cause }),
    });
  }

  async #writeStatus(attached: readonly Attached[], { metadata }: Pod, o: Signal): Promise<void> {
    const text = formatNetworkStatus(attached);
    // The UID keeps a same-named Pod that came later from being described by this one's networks: a UID is immutable.
    const body = { metadata: { uid: metadata.uid, annotations: { [networkStatusAnnotation]: text } } };
    const { namespace, name } = metadata;
    await this.#client.patch(unreadPods, { namespace, name }, { kind: "merge", body }, { ...o, subresource: "status" });
  }
}

function isEnding({ metadata }: Pod): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/** The result of an ADD according to its record. */
function attachedBy(record: SandboxRecord, log: Logger): readonly Attached[] {
  return record.networks.flatMap((network, position) => {
    const result = recordedResult(network);
    if (result === undefined) return [];
    const deviceInfo = readDeviceInfo(recordedDeviceInfoFile(record, network), log);
    return [{ displayName: network.name, master: position === 0, result, deviceInfo }];
  });
}

/** Failures whose sentence names an address or a port, which are others at every try of the kubelet: one Event for all. */
const differentEachTry: ReadonlySet<string> = new Set(["ADDRESS_CONFLICT", "OVS_PORT_NOT_READY", "OVSDB_REFUSED"]);

/** What the sentences of one failure have in common; undefined if they are the same at every try. */
function causeOf(code: string, message: string, netns: string): string | undefined {
  // How many addresses are in use, and how many in quarantine, changes while others try, too.
  if (code === "POOL_EXHAUSTED") return message.split(": all IP addresses used out", 1)[0];
  if (differentEachTry.has(code)) return code;
  // Each try has a sandbox of its own, and names of links follow from it.
  const same = (netns === "" ? message : message.replaceAll(netns, "")).replaceAll(/\bveth[0-9a-f]{8,11}\b/g, "");
  return same === message ? undefined : same;
}

/** The reasons of Events by error code. For all other codes it is `NetworkFailed`. */
const reasons: Readonly<Record<string, string>> = {
  [networkNotFound]: "NoNetworkFound",
  POOL_EXHAUSTED: "IPPoolExhausted",
  NO_POOL: "NoIPPool",
  AUTO_POOL_PENDING: "NoIPPool",
  POOL_NOT_FOUND: "NoIPPool",
  BROKEN_POOL: "InvalidIPPool",
  WRONG_INPUT: "InvalidAnnotation",
  NETWORK_ANNOTATION: "InvalidAnnotation",
  INTERFACE_TAKEN: "InvalidAnnotation",
  STICKY_HELD: "AddressHeld",
  ADDRESS_CONFLICT: "AddressConflict",
  GATEWAY_SILENT: "GatewaySilent",
};
