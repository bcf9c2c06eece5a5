import { hash } from "node:crypto";
import type { Event } from "kubernetes-types/core/v1.d.ts";
import { systemClock } from "#base";
import { isStatus, type LabClient, type ObjectMeta } from "../api/index.ts";

/** What an Event is about. */
interface EventSubject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** What happened, in the fields of a core Event. */
export interface Happening {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
  /** The part that reports it, for example `kubelet`. */
  readonly component: string;
  readonly host?: string;
}

/**
 * Writes an Event. One with the same subject, reason and message is counted up instead, as Kubernetes' recorders do. An Event
 * that cannot be written is dropped: it must not stop the work that it reports.
 */
export async function recordEvent(client: LabClient, subject: EventSubject, happening: Happening): Promise<void> {
  const { metadata, apiVersion, kind } = subject;
  const namespace = metadata.namespace ?? "default";
  const name = `${metadata.name}.${hashText(`${metadata.uid} ${happening.reason} ${happening.message}`)}`;
  const now = apiTime();
  const event: Event = {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name, namespace },
    involvedObject: { apiVersion, kind, name: metadata.name, namespace, uid: metadata.uid },
    type: happening.type,
    reason: happening.reason,
    message: happening.message.slice(0, 1_024), // the API's limit
    source: { component: happening.component, ...(happening.host !== undefined && { host: happening.host }) },
    reportingComponent: happening.component,
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  };
  try {
    await client.create("v1/events", event);
  } catch (error) {
    if (!isStatus(error, 409)) return;
    const known = await client.get<Event>("v1/events", { namespace, name }).catch(() => undefined);
    const patch = { count: (known?.count ?? 1) + 1, lastTimestamp: now };
    await client.patch("v1/events", { namespace, name }, patch).catch(() => undefined);
  }
}

/** Now, as the API writes times. */
export function apiTime(now: Date = systemClock.wall()): string {
  return now.toISOString().replace(/\.\d+Z$/, "Z");
}

/** A short name-safe digest. */
export function hashText(text: string): string {
  return hash("sha256", text).slice(0, 16);
}
