import { type Clock, type Logger, printable, type Signal } from "#base";
import type { KubeClient } from "./client.ts";
import { deadline } from "./deadline.ts";
import { type CoreEvent, events } from "./kinds/core.ts";
import {
  apiVersionOf,
  type Draft,
  type KubeObject,
  metadataOf,
  type ObjectMeta,
  type ObjectRef,
  type Resource,
} from "./kinds/resource.ts";
import { limits } from "./limits.ts";
import { retry } from "./retry.ts";

/** The object that an Event is about. */
export interface EventSubject extends ObjectRef {
  readonly apiVersion: string;
  readonly kind: string;
  readonly uid?: string;
}

type Identified = { readonly metadata: Pick<ObjectMeta, "namespace" | "name" | "uid"> };

/** The object as the subject of an Event. */
export function subjectOf(resource: Resource<KubeObject>, { metadata }: Identified): EventSubject {
  const { namespace, name, uid } = metadata;
  return {
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    ...(namespace !== undefined && { namespace }),
    name,
    uid,
  };
}

/** A node as `kubectl describe node` looks for its Events: kubelet's own have the node's name as UID, too. */
export function nodeSubject(name: string): EventSubject {
  return { apiVersion: "v1", kind: "Node", name, uid: name };
}

/** What an Event says, without the object that it is about. */
export interface EventText {
  readonly type: "Normal" | "Warning";
  /** CamelCase, of a small set. */
  readonly reason: string;
  /** Cut to the 1024 characters that the API allows. */
  readonly message: string;
  /** The identity of an Event about an object, if its messages differ only by an example. @default the message */
  readonly cause?: string;
  /** For programs: annotations of the Event. @default none */
  readonly annotations?: Readonly<Record<string, string>>;
}

interface EventRecorderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** `spiderpool-agent` … */
  readonly component: string;
  /** The node that the component runs on, if any. */
  readonly host?: string;
}

/** Repetitions of one cause on one object: counted for `windowMs`, then told with the next one. */
interface Seen {
  readonly writtenAtMs: number;
  readonly firstAt: Date;
  readonly unwritten: number;
}

interface Queued {
  readonly draft: Draft<CoreEvent>;
  readonly cause: string;
}

const windowMs = 5 * 60_000;
const attemptMs = 30_000;
/** Nobody reads the answer of a create. */
const unreadEvents = metadataOf(events);

/**
 * Writes core/v1 Events and never makes its caller wait: the queue is bounded, and Events that can't be written are dropped and
 * counted. In a burst, Warnings take the places of Normal Events.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #client: KubeClient;
  readonly #queue: Queued[] = [];
  readonly #seen = new Map<string, Seen>();
  #wake = () => {};
  #failing = false;
  #dropped = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#client = options.client.forViews();
  }

  /** Events that were not written: queue full, or refused. For metrics. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Queues one Event. The same text, or cause, about the same object is written once in 5 minutes; repetitions in between are
   * counted, and the next Event after the 5 minutes carries their number.
   */
  record(subject: EventSubject, text: EventText): void {
    const { clock } = this.#options;
    const cause = JSON.stringify([
      subject.kind,
      subject.namespace,
      subject.name,
      subject.uid,
      text.reason,
      text.cause ?? text.message,
    ]);
    const nowMs = clock.monotonicMs();
    const seen = this.#seen.get(cause);
    this.#seen.delete(cause); // to be the youngest entry again
    if (seen !== undefined && nowMs - seen.writtenAtMs < windowMs) {
      const firstAt = seen.unwritten === 0 ? clock.wall() : seen.firstAt;
      this.#seen.set(cause, { ...seen, firstAt, unwritten: seen.unwritten + 1 });
      return;
    }
    if (this.#queue.length >= limits.eventQueue) {
      this.#dropped += 1;
      const lesser = text.type === "Warning" ? this.#queue.findIndex(({ draft }) => draft.type === "Normal") : -1;
      if (lesser < 0) return;
      for (const dropped of this.#queue.splice(lesser, 1)) this.#seen.delete(dropped.cause);
    }
    const firstAt = seen === undefined || seen.unwritten === 0 ? clock.wall() : seen.firstAt;
    const draft = this.#draft(subject, text, { firstAt, count: 1 + (seen?.unwritten ?? 0) });
    this.#queue.push({ draft, cause });
    this.#seen.set(cause, { writtenAtMs: nowMs, firstAt, unwritten: 0 });
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > limits.eventCauses && oldest !== undefined) this.#seen.delete(oldest);
    this.#wake();
  }

  /** Writes what is queued until the signal aborts, then resolves. */
  async run({ signal }: Signal): Promise<void> {
    const onAbort = () => this.#wake();
    signal.addEventListener("abort", onAbort, { once: true });
    while (!signal.aborted) {
      const next = this.#queue.shift();
      if (next !== undefined) {
        await this.#write(next, signal);
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  async #write({ draft, cause }: Queued, parent: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    using limit = deadline(clock, parent, attemptMs, () => new Error("writing an Event took too long"));
    try {
      await retry((o) => this.#client.create(unreadEvents, draft, o), { signal: limit.signal, clock });
      this.#failing = false;
    } catch (err) {
      if (parent.aborted) return;
      this.#dropped += 1;
      // Nobody has read it: the next one is not a repetition.
      this.#seen.delete(cause);
      if (!this.#failing) log.warn({ err, reason: draft.reason }, "Events cannot be written");
      this.#failing = true;
    }
  }

  #draft(
    { apiVersion, kind, namespace, name, uid }: EventSubject,
    { type, reason, message, annotations }: EventText,
    { firstAt, count }: { readonly firstAt: Date; readonly count: number },
  ): Draft<CoreEvent> {
    const { clock, component, host } = this.#options;
    const shown = printable(message);
    return {
      // Events about cluster-scoped objects live in the namespace "default".
      metadata: {
        namespace: namespace ?? "default",
        generateName: `${name.slice(0, 200)}.`,
        ...(annotations && { annotations }),
      },
      involvedObject: {
        apiVersion,
        kind,
        name,
        ...(namespace !== undefined && { namespace }),
        ...(uid !== undefined && { uid }),
      },
      type,
      reason,
      message: shown.length > 1024 ? `${shown.slice(0, 1023)}…` : shown,
      count,
      firstTimestamp: timestamp(firstAt),
      lastTimestamp: timestamp(clock.wall()),
      source: { component, ...(host !== undefined && { host }) },
      reportingComponent: component,
      reportingInstance: host ?? component,
    };
  }
}

/** Kubernetes' Time has whole seconds. */
function timestamp(at: Date): string {
  return at.toISOString().replace(/\.\d+Z$/, "Z");
}
