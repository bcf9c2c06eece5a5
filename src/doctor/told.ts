import { annotations } from "#api";
import { adviceMark, hintMark } from "#cni";
import type { CoreEvent } from "#kube";

/** A failure that node or agent told of. */
export interface Told {
  readonly code: string;
  /** What is wrong, as the runtime was answered. */
  readonly sentence: string;
  /** "" where it says nothing of what can be done. */
  readonly advice: string;
  readonly at: Date;
}

/** The agent did not answer the runtime's executable, which said so itself. */
const agentUnreachable = "AGENT_UNREACHABLE";

const agentSilent = "spiderpool-agent is not reachable";
/** What comes before the plugin's own words in the Event of a kubelet. */
const kubeletPreamble = /^.*? failed \(add\): /s;

/**
 * The newest failure of an ADD among the Pod's Events, oldest first; undefined if the last word is that it succeeded.
 * The kubelet tells of every attempt, the agent of each cause once in five minutes: the one says when, the other which code.
 */
export function lastFailure(events: readonly CoreEvent[]): Told | undefined {
  const failures = events.filter(isFailure);
  const newest = failures.findLast(isKubelets) ?? failures.at(-1);
  if (newest === undefined || succeededSince(events, newest)) return undefined;
  const { message = "" } = newest;
  const at = new Date(eventTimeMs(newest));
  if (!isKubelets(newest)) return { ...split(message), code: codeOf(newest), at };
  const text = message.replace(kubeletPreamble, "");
  if (text.includes(agentSilent)) return { ...split(text.replaceAll("; ", ". ")), code: agentUnreachable, at };
  const same = failures.findLast((event) => !isKubelets(event) && words(text).includes(words(event.message ?? "")));
  if (same === undefined) return { ...split(text), code: "UNKNOWN", at };
  return { ...split(same.message ?? ""), code: codeOf(same), at };
}

function isFailure(event: CoreEvent): boolean {
  return (
    event.type === "Warning" && (isKubelets(event) || event.metadata.annotations?.[annotations.errorCode] !== undefined)
  );
}

function isKubelets({ reason, message = "" }: CoreEvent): boolean {
  return reason === "FailedCreatePodSandBox" && kubeletPreamble.test(message);
}

function succeededSince(events: readonly CoreEvent[], failure: CoreEvent): boolean {
  const success = events.findLast(({ reason }) => reason === "AddedInterface");
  return success !== undefined && eventTimeMs(success) > eventTimeMs(failure);
}

function codeOf({ metadata }: CoreEvent): string {
  return metadata.annotations?.[annotations.errorCode] ?? "UNKNOWN";
}

/** The text in two: what is wrong, and what can be done. */
function split(told: string): Pick<Told, "sentence" | "advice"> {
  const text = withoutHint(told);
  const at = text.lastIndexOf(adviceMark);
  if (at < 0) return { sentence: text, advice: "" };
  return { sentence: text.slice(0, at).replace(/[.;]\s*$/, ""), advice: text.slice(at + adviceMark.length) };
}

/** Runtimes put a semicolon between `msg` and `details`, Events a full stop; long Events are cut. */
function words(text: string): string {
  return withoutHint(text).replaceAll(/[.;] /g, " ").replace(/…$/, "");
}

/** Without the command with which the agent's Events end: what they share with the runtime's answer. */
function withoutHint(text: string): string {
  const at = text.lastIndexOf(hintMark);
  return at < 0 ? text : text.slice(0, at);
}

/** When the Event was last seen, in milliseconds since 1970. */
export function eventTimeMs({ lastTimestamp, eventTime, firstTimestamp, metadata }: CoreEvent): number {
  return Date.parse(lastTimestamp ?? eventTime ?? firstTimestamp ?? metadata.creationTimestamp ?? "") || 0;
}
