import type { CoreEvent, EventText } from "#kube";
import type { Finding } from "./check.ts";
import { nodeChecks } from "./node/checks.ts";

/** Agents publish their findings more often than this, in milliseconds. An older finding has been repaired meanwhile. */
export const publishedMsMax = 12 * 60_000;

const prefix = "Doctor";
const separator = " Fix: ";
const fixSeparator = "; ";

/** The Event on the node with which an agent publishes a finding. `kubectl describe node` shows it. */
export function eventOf({ id, found, fix }: Finding): EventText {
  const reason = prefix + id.replaceAll(/(^|-)([a-z])/g, (_all, _dash, letter: string) => letter.toUpperCase());
  return { type: "Warning", reason, message: `${found}.${separator}${fix.join(fixSeparator)}` };
}

/** The inverse of {@link eventOf}: the finding in an Event. Undefined for other Events, and for one that is too old. */
export function findingOfEvent(event: CoreEvent, now: Date): Finding | undefined {
  const { reason = "", message = "", lastTimestamp, involvedObject } = event;
  if (involvedObject.kind !== "Node" || !reason.startsWith(prefix)) return undefined;
  if (now.getTime() - Date.parse(lastTimestamp ?? "") > publishedMsMax) return undefined;
  const check = nodeChecks.find(
    ({ id }) => eventOf({ id, on: "", severity: "error", found: "", fix: [] }).reason === reason,
  );
  const [found, fix] = message.split(`.${separator}`);
  if (check === undefined || found === undefined || fix === undefined) return undefined;
  const { id, severity } = check;
  return { id, on: involvedObject.name ?? "", severity, found, fix: fix.split(fixSeparator) };
}
