import type { CoreEvent, EventText } from "#kube";
import type { Finding } from "./check.ts";
import { nodeChecks } from "./node/checks.ts";

/** Agents publish what they find at least so often; a finding that is older was mended meanwhile. */
export const publishedMsMax = 12 * 60_000;

const prefix = "Doctor";
const separator = " Fix: ";
const fixSeparator = "; ";

/** A finding as the Event on its node by which an agent publishes it: also `kubectl describe node` shows it. */
export function eventOf({ id, found, fix }: Finding): EventText {
  const reason = prefix + id.replaceAll(/(^|-)([a-z])/g, (_all, _dash, letter: string) => letter.toUpperCase());
  return { type: "Warning", reason, message: `${found}.${separator}${fix.join(fixSeparator)}` };
}

/** The finding that an Event publishes; undefined for any other Event, and for one that is too old. */
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
