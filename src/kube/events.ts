import { type Clock, type Logger, type Signal, SpiderError } from "#base";
import type { KubeClient } from "./client.ts";
import type { ObjectRef } from "./resource.ts";

/** The object that an Event is about. */
export interface EventSubject extends ObjectRef {
  readonly apiVersion: string;
  readonly kind: string;
  readonly uid?: string;
}

export interface EventText {
  readonly type: "Normal" | "Warning";
  /** CamelCase, of a small set. */
  readonly reason: string;
  readonly message: string;
}

export interface EventRecorderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** `spiderpool-agent` … */
  readonly component: string;
  /** The node, where the component runs on one. */
  readonly host?: string;
}

/** Writes core/v1 Events without ever making its caller wait. */
export class EventRecorder {
  constructor(_options: EventRecorderOptions) {}

  /** Queues one Event; the same text about the same object is written once in 5 minutes. Dropped where the queue is full. */
  record(_subject: EventSubject, _text: EventText): void {
    throw new SpiderError("NOT_YET", "not yet");
  }

  /** Writes what is queued until the signal aborts. */
  run(_o: Signal): Promise<void> {
    throw new SpiderError("NOT_YET", "not yet");
  }
}
