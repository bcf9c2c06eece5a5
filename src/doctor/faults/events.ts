import type { CoreEvent, EventText } from "#kube";
import { publishedMsMax } from "../events.ts";
import { type Disagreement, type FaultKind, faultKinds } from "./disagreement.ts";

const prefix = "Fault";

/** The Event on the node with which an agent publishes a disagreement. */
export function eventOfFault({ kind, object, one, other }: Disagreement): EventText {
  const said = ({ text, readAt }: Disagreement["one"]) => `${text} (read ${readAt.toISOString()})`;
  return { type: "Warning", reason: reasonOf(kind), message: `${object}: ${said(one)}, but ${said(other)}` };
}

/** The disagreement that an Event publishes. Undefined for other Events, and for one that is too old. */
export function faultOfEvent(event: CoreEvent, now: Date): Disagreement | undefined {
  const { reason = "", message = "", lastTimestamp, involvedObject } = event;
  const kind = faultKinds.find((one) => reasonOf(one) === reason);
  if (involvedObject.kind !== "Node" || kind === undefined) return undefined;
  if (now.getTime() - Date.parse(lastTimestamp ?? "") > publishedMsMax) return undefined;
  const [, object, one, oneAt, other, otherAt] =
    /^(.+?): (.+) \(read ([^)]+)\), but (.+) \(read ([^)]+)\)$/.exec(message) ?? [];
  if (object === undefined || one === undefined || other === undefined) return undefined;
  const on = involvedObject.name ?? "";
  return {
    kind,
    object: `${on}: ${object}`,
    key: `${kind} ${on} ${object}`,
    one: { text: one, readAt: new Date(oneAt ?? "") },
    other: { text: other, readAt: new Date(otherAt ?? "") },
  };
}

function reasonOf(kind: FaultKind): string {
  return prefix + kind.replaceAll(/(^|-)([a-z])/g, (_all, _dash, letter: string) => letter.toUpperCase());
}
