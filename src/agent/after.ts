import { isDeepStrictEqual } from "node:util";
import { type SpiderEndpoint, type SpiderEndpointIp, spiderEndpoints } from "#api";
import {
  type Clock,
  FairQueue,
  formatError,
  KeyedLock,
  type Logger,
  type Signal,
  SpiderError,
  type Tasks,
} from "#base";
import { type Attachment, CniError } from "#cni";
import { formatIp } from "#ip";
import {
  type EventRecorder,
  type EventSubject,
  hasReason,
  isRetryable,
  type KubeClient,
  keyOf,
  type Pod,
  pods,
  retry,
  type Store,
  surelyUnchanged,
} from "#kube";
import type { Claim, Ledger } from "#ledger";
import { addedInterfaceMessage, formatNetworkStatus, MissingNadError, networkStatusAnnotation } from "#multus";
import type { AttachedDelegate } from "./calls.ts";
import type { Answer } from "./ipam.ts";
import type { TopControllers } from "./top-controller.ts";

/** Views wait for a pause between calls, but no longer than this: a node that never pauses shows its Pods, too. */
const pauseMsMax = 1_000;
/** Pods whose views are written at once. */
const writersMax = 4;
/** A view that cannot be written for so long is given up; the next ADD or restart of the Pod writes it anew. */
const publishMsMax = 120_000;

export interface AfterOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tasks: Tasks;
  readonly events: EventRecorder;
  readonly ledger: Ledger;
  readonly owners: TopControllers;
  readonly pods: Store<Pod>;
  readonly node: string;
  /** Resolves when no CNI call is at work. */
  readonly idle: () => Promise<void>;
}

/** What users read about an ADD: written after its answer, and tried again until it is written. Nothing decides by it. */
export class After {
  readonly #options: AfterOptions;
  /** One writer for each Pod: two NICs may be added one right after the other. */
  readonly #writers = new KeyedLock();
  readonly #slots = new FairQueue({ slots: writersMax, maxWaiting: Number.MAX_SAFE_INTEGER });

  constructor(options: AfterOptions) {
    this.#options = options;
  }

  added(attached: readonly AttachedDelegate[], pod: Pod): void {
    const { tasks, clock, log } = this.#options;
    tasks.spawn("publish", async (stopping) => {
      const signal = AbortSignal.any([stopping, AbortSignal.timeout(publishMsMax)]);
      const write = (act: (o: Signal) => Promise<void>, retryable: (error: unknown) => boolean) =>
        retry(act, { signal, clock, retryable });
      try {
        await Promise.race([this.#options.idle(), clock.sleep(pauseMsMax, { signal })]);
        using _slot = await this.#slots.enter(pod.metadata.namespace ?? "", { signal });
        this.#record(attached, pod);
        await this.#writers.run(
          pod.metadata.uid,
          async () => {
            await write((o) => this.#writeStatus(attached, pod, o), mayRepeat);
            await write(
              (o) => this.#writeEndpoint(pod, o),
              (error) => isConflict(error) || mayRepeat(error),
            );
          },
          { signal },
        );
      } catch (err) {
        if (stopping.aborted) return;
        log.warn({ pod: keyOf(pod.metadata), err: formatError(err) }, "a Pod's views were not written");
      }
    });
  }

  #record(attached: readonly AttachedDelegate[], pod: Pod): void {
    for (const { delegate, result } of attached) {
      const message = addedInterfaceMessage(delegate, result);
      if (message === undefined) continue;
      this.#options.events.record(subjectOf(pod), { type: "Normal", reason: "AddedInterface", message });
    }
  }

  /** The sentence that the runtime got, as an Event on the Pod. */
  failed({ pod: ref }: Attachment, error: unknown): void {
    const pod = ref && this.#options.pods.get(keyOf(ref));
    if (pod === undefined) return;
    const { code, message } = sentenceOf(error);
    const reason = missingNad(error) ? "NoNetworkFound" : (reasons[code] ?? "NetworkFailed");
    this.#options.events.record(subjectOf(pod), { type: "Warning", reason, message });
  }

  async #writeStatus(attached: readonly AttachedDelegate[], { metadata }: Pod, o: Signal): Promise<void> {
    const text = formatNetworkStatus(
      attached.map(({ delegate, result }) => ({ displayName: delegate.displayName, master: delegate.master, result })),
    );
    // The UID keeps a same-named Pod that came later from being described by this one's networks: a UID is immutable.
    const body = { metadata: { uid: metadata.uid, annotations: { [networkStatusAnnotation]: text } } };
    const { namespace, name } = metadata;
    await this.#options.client.patch(
      pods,
      { namespace, name },
      { kind: "merge", body },
      { ...o, subresource: "status" },
    );
  }

  async #writeEndpoint(pod: Pod, o: Signal): Promise<void> {
    const { client, ledger, owners, node } = this.#options;
    const { namespace = "", name, uid } = pod.metadata;
    const claims = ledger.claimsOf(uid);
    if (claims.length === 0) return;
    const owner = await owners.of(pod, o);
    const status = {
      current: { uid, node, ips: endpointNics(claims) },
      ownerControllerType: owner?.kind ?? "Pod",
      ownerControllerName: owner?.name ?? name,
    };
    const found = await client.get(spiderEndpoints, { namespace, name }, o);
    const ownerReferences = [{ apiVersion: "v1", kind: "Pod", name, uid }];
    if (found === undefined)
      await client.create(spiderEndpoints, { metadata: { namespace, name, ownerReferences }, status }, o);
    else if (!sameStatus(found, status)) {
      await client.update(spiderEndpoints, { ...found, metadata: { ...found.metadata, ownerReferences }, status }, o);
    }
  }
}

/** One entry for each NIC, both families merged; eth0 first, then by name. */
export function endpointNics(claims: readonly Claim[]): readonly SpiderEndpointIp[] {
  const nics = new Map<string, SpiderEndpointIp>();
  for (const { spec, ip } of claims) {
    const nic = spec.nic ?? "";
    const answer = answerOf(spec.answer);
    const address = `${formatIp(ip)}/${answer.prefix}`;
    const gateway =
      answer.gw === undefined ? {} : { [`ipv${ip.family}Gateway`]: answer.gw, cleanGateway: answer.clean ?? false };
    const before = nics.get(nic);
    const routes = [...(before?.routes ?? []), ...(answer.routes ?? [])];
    nics.set(nic, {
      ...before,
      interface: nic,
      vlan: 0, // what the server would fill in: what is read is then what was written
      [`ipv${ip.family}`]: address,
      [`ipv${ip.family}Pool`]: spec.pool,
      ...gateway,
      ...(routes.length === 0 ? {} : { routes }),
    });
  }
  const rank = ({ interface: name }: SpiderEndpointIp) => (name === "eth0" ? "" : name);
  return [...nics.values()].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

function answerOf(text: string | undefined): Answer {
  return text === undefined ? { prefix: 0 } : JSON.parse(text);
}

function sameStatus(found: SpiderEndpoint, status: object): boolean {
  return isDeepStrictEqual(found.status, status); // the server sorts the fields of custom resources
}

function subjectOf({ metadata }: Pod): EventSubject {
  const { namespace, name, uid } = metadata;
  return { apiVersion: "v1", kind: "Pod", namespace, name, uid };
}

/** Written twice is written once: a lost answer is no reason to stop. A Pod that is gone needs no views. */
function mayRepeat(error: unknown): boolean {
  return isRetryable(error) || !surelyUnchanged(error);
}

/** Somebody else wrote the endpoint: it is read again. */
function isConflict(error: unknown): boolean {
  return hasReason(error, "Conflict", "AlreadyExists");
}

function missingNad(error: unknown): boolean {
  return error instanceof MissingNadError || (error instanceof CniError && error.cause instanceof MissingNadError);
}

/** Event reasons by error code; what is not here is `NetworkFailed`. */
const reasons: Readonly<Record<string, string>> = {
  POOL_EXHAUSTED: "IPPoolExhausted",
  NO_POOL: "NoIPPool",
  POOL_NOT_FOUND: "NoIPPool",
  BROKEN_POOL: "InvalidIPPool",
  WRONG_INPUT: "InvalidAnnotation",
};

/** The code of the first error below that is more than a CNI number. */
function ownCode(error: SpiderError): string {
  return error instanceof CniError && error.cause instanceof SpiderError ? ownCode(error.cause) : error.code;
}

function sentenceOf(error: unknown): { readonly code: string; readonly message: string } {
  if (error instanceof CniError) {
    return { code: ownCode(error), message: error.text === "" ? error.message : `${error.message}. ${error.text}` };
  }
  if (error instanceof SpiderError) {
    const { fix } = error.details;
    return {
      code: error.code,
      message: typeof fix === "string" ? `${formatError(error)}. What to do: ${fix}` : formatError(error),
    };
  }
  return { code: "UNKNOWN", message: formatError(error) };
}
