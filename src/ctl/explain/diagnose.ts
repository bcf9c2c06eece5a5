import { adviceMark, sentenceOf } from "#cni";
import { lastFailure, type Told } from "#doctor";
import { formatIp, parseIp } from "#ip";
import { type Node, readyCondition } from "#kube";
import { addressesOfStatus, networkStatusAnnotation } from "#multus";
import { isUsedThoughGivenBack } from "../given-back.ts";
import { type Attempt, attemptOn, candidatePools } from "./attempt.ts";
import type { Cause } from "./cause.ts";
import type { Facts, PodState, Usage } from "./facts.ts";
import type { Fix } from "./fix.ts";
import { networkFixes } from "./network-fixes.ts";
import type { NicReport } from "./nic-report.ts";
import { poolFixes } from "./pool-fixes.ts";
import { systemFixes } from "./system-fixes.ts";

/** The answer to "why has this Pod (not) got its networks?". */
export interface Diagnosis {
  readonly pod: string;
  readonly state: PodState;
  readonly node: string | undefined;
  /** `runs`: it does or would. `unknown`: the API server cannot tell. */
  readonly verdict: "runs" | "fails" | "unknown";
  readonly cause?: Cause;
  readonly nics: readonly NicReport[];
  readonly fixes: readonly Fix[];
  /** Further sentences for the user. */
  readonly notes: readonly string[];
}

/** The nodes on which an ADD is tried in thought: the Pod's own or, before it is scheduled, all that it could be put on. */
export function nodesOf({ pod, nodes }: Pick<Facts, "pod" | "nodes">): readonly string[] {
  if (pod.state === "gone" || pod.hostNetwork) return [];
  if (pod.nodeName !== undefined) return [pod.nodeName];
  const fits = ({ metadata, spec }: Node) =>
    spec?.unschedulable !== true &&
    Object.entries(pod.nodeSelector).every(([key, value]) => metadata.labels?.[key] === value);
  return [...nodes.values()].filter(fits).map(({ metadata }) => metadata.name);
}

/** The pools whose claims must be read before {@link diagnose}. */
export function poolsToRead(facts: Facts): ReadonlySet<string> {
  return new Set(nodesOf(facts).flatMap((node) => candidatePools(facts, node)));
}

/** The Pod's addresses, for several NICs with their names, by network-status: the kubelet reports only those of eth0. */
function addressesOf({ ips, annotations }: Facts["pod"], [attempt]: readonly Attempt[]): string {
  const told = (attempt?.nics ?? []).flatMap(({ nic }) => {
    const own = addressesOfStatus(annotations[networkStatusAnnotation], nic);
    return own.length === 0 ? [] : [`${nic} ${own.map(formatIp).join(", ")}`];
  });
  return told.length > 1 ? told.join("; ") : ips.join(", ");
}

/**
 * A note on addresses that nobody of ours gave to a Pod which asks for addresses of pools; undefined if it has its own. An agent
 * tells every Pod that it attached its network-status.
 */
function foreignAddresses({ pod, pools }: Facts, [attempt]: readonly Attempt[]): string | undefined {
  if (pod.ips.length === 0 || attempt?.nics[0]?.managed !== true) return undefined;
  if (pod.annotations[networkStatusAnnotation] !== undefined) return undefined;
  const ips = pod.ips.map((ip) => parseIp(ip));
  if ([...pools.values()].some(({ family, set }) => ips.some((ip) => ip.family === family && set.contains(ip)))) {
    return undefined;
  }
  return `its address ${pod.ips.join(", ")} is of no IPPool: another network of its node attached it, while the node had no agent or the default network was empty. Delete the Pod, and the next one is attached by the networks below`;
}

/** A note for each address that the Pod uses although a plugin gave it back because another host has it. */
function quarantined(pod: Facts["pod"], usage: Usage): readonly string[] {
  const givenBack = [...usage.values()].flat().filter((claim) => isUsedThoughGivenBack(claim, pod));
  return givenBack.map(({ ip, spec }) => {
    const why = `until ${spec.until ?? "further notice"} (${spec.reason ?? "no reason given"})`;
    return `its address ${formatIp(ip)} is in quarantine ${why}: delete the Pod, and the next one gets another address`;
  });
}

/** Finds out whether the Pod gets its networks and, if not, why. Pure. */
export function diagnose(facts: Facts, usage: Usage): Diagnosis {
  const { pod } = facts;
  const about = { pod: `${pod.namespace}/${pod.name}`, state: pod.state, node: pod.nodeName };
  const nothing = { ...about, nics: [], fixes: [], notes: [] };
  if (pod.state === "gone") return gone(facts, nothing);
  if (pod.hostNetwork)
    return { ...nothing, verdict: "runs", notes: ["it uses the network of its node: nothing is attached"] };
  if (pod.state === "ended")
    return { ...nothing, verdict: "unknown", notes: ["it has ended or is being deleted: it gets no network any more"] };
  const attempts = nodesOf(facts).map((node) => attemptOn(facts, usage, node));
  if (pod.state === "running") {
    const foreign = foreignAddresses(facts, attempts);
    if (foreign !== undefined) return { ...nothing, verdict: "fails", nics: attempts[0]?.nics ?? [], notes: [foreign] };
    const has = `it has its networks: ${addressesOf(pod, attempts)}`;
    return running(attempts, { ...nothing, notes: [has, ...quarantined(pod, usage)] });
  }
  const told = lastFailure(facts.events);
  const cause = causeOf(facts, attempts, told);
  const [attempt] = attempts.toSorted((a, b) => rank(a) - rank(b));
  const nics = attempt?.nics ?? [];
  if (cause !== undefined) {
    const verdict =
      attempt?.uncertain === true && cause.seenAt === undefined && told === undefined ? "unknown" : "fails";
    return {
      ...about,
      verdict,
      cause,
      nics,
      fixes: fixesOf(facts, usage, attempt, cause),
      notes: notesOf(facts, attempts),
    };
  }
  const unseen = attempt === undefined || attempt.uncertain;
  const corrected =
    told === undefined
      ? []
      : [`the last attempt failed (${told.code}: ${told.sentence}); that no longer holds, and kubelet tries again`];
  return { ...nothing, verdict: unseen ? "unknown" : "runs", nics, notes: [...corrected, ...notesOf(facts, attempts)] };
}

type Blank = Omit<Diagnosis, "verdict">;

function gone(facts: Facts, nothing: Blank): Diagnosis {
  const told = lastFailure(facts.events);
  if (told !== undefined) {
    const cause = causeTold(told);
    return {
      ...nothing,
      verdict: "fails",
      cause,
      fixes: networkFixes(facts, cause.code, cause.sentence),
      notes: ["the Pod is gone; this is what its Events say"],
    };
  }
  const added = facts.events.filter(({ reason }) => reason === "AddedInterface").map(({ message = "" }) => message);
  if (added.length > 0)
    return { ...nothing, verdict: "runs", notes: ["the Pod is gone; it had its networks", ...added] };
  return {
    ...nothing,
    verdict: "unknown",
    notes: [
      "there is no such Pod, and no Event of the last hour tells of one: see its name and namespace with `kubectl get pods -A`",
    ],
  };
}

/** The diagnosis of a running Pod: it has its networks. A note says so if another Pod like it would not get them now. */
function running([attempt]: readonly Attempt[], about: Blank): Diagnosis {
  const later =
    attempt?.failure === undefined
      ? []
      : [`one more Pod like it could not start now: ${sentenceOf(attempt.failure).message}`];
  return { ...about, verdict: "runs", nics: attempt?.nics ?? [], notes: [...about.notes, ...later] };
}

/** Sorts attempts: while the scheduler may still choose, nodes on which the ADD would succeed come first. */
function rank({ failure, uncertain }: Attempt): number {
  return failure !== undefined ? 2 : uncertain ? 1 : 0;
}

/** The cause of a failure: the last one that only the node can see, else what the API server's objects show now. */
function causeOf(facts: Facts, attempts: readonly Attempt[], told: Told | undefined): Cause | undefined {
  const { pod } = facts;
  // The node reports every attempt, so its last report is the newest about what only the node can see.
  if (told !== undefined && !isComputable(told.code)) return causeTold(told);
  const failed = attempts.filter(({ failure }) => failure !== undefined);
  const [first] = failed;
  if (first !== undefined && failed.length === attempts.length) return computed(first, told);
  if (pod.state === "new") return undefined;
  if (pod.unscheduled !== undefined && pod.nodeName === undefined) {
    return {
      code: "POD_UNSCHEDULED",
      sentence: `Pod ${pod.namespace}/${pod.name} is on no node: ${pod.unscheduled}`,
      advice: "",
    };
  }
  return nodeAway(facts);
}

/** The cause that follows from the API server's objects; with the time of the node's report, if that says the same. */
function computed({ failure }: Attempt, told: Told | undefined): Cause {
  const { code, message } = sentenceOf(failure);
  const at = message.lastIndexOf(adviceMark);
  const sentence = at < 0 ? message : message.slice(0, at).replace(/\. $/, "");
  const advice = at < 0 ? "" : message.slice(at + adviceMark.length);
  const confirmed = told?.code === code && told.sentence === sentence;
  return { code, sentence, advice, ...(confirmed && { seenAt: told.at }) };
}

function causeTold({ code, sentence, advice, at }: Told): Cause {
  return { code, sentence, advice, seenAt: at };
}

/** Whether a failure with this code can be seen in the API server's objects as long as it lasts. */
function isComputable(code: string): boolean {
  return computable.has(code);
}

const computable: ReadonlySet<string> = new Set([
  ...["NO_POOL", "POOL_NOT_FOUND", "BROKEN_POOL", "WRONG_INPUT", "POOL_EXHAUSTED", "AUTO_POOL_PENDING"],
  ...["NETWORK_NOT_FOUND", "NETWORK_ANNOTATION", "NETWORK_INVALID", "INTERFACE_TAKEN"],
]);

function nodeAway({ pod, nodes }: Facts): Cause | undefined {
  if (pod.nodeName === undefined) return undefined;
  const node = nodes.get(pod.nodeName);
  if (node === undefined) {
    return {
      code: "NODE_NOT_FOUND",
      sentence: `node ${pod.nodeName} of the Pod does not exist`,
      advice: "delete the Pod: its controller makes it anew on a node that does",
    };
  }
  const ready = readyCondition(node);
  if (ready === "True") return undefined;
  const condition = node.status?.conditions?.find(({ type }) => type === "Ready");
  const sentence = `node ${pod.nodeName} is not ready (${condition?.reason ?? ready}): ${condition?.message ?? "its kubelet has reported nothing"}`;
  return { code: "NODE_NOT_READY", sentence, advice: "see whether its kubelet and container runtime run" };
}

function fixesOf(facts: Facts, usage: Usage, attempt: Attempt | undefined, cause: Cause): readonly Fix[] {
  const failed = attempt?.nics.find(({ problem }) => problem !== undefined);
  // Other pools help only if the NIC's own problem is the cause.
  const isAboutIt = failed !== undefined && sentenceOf(failed.problem).code === cause.code;
  const pools = attempt !== undefined && isAboutIt ? poolFixes(facts, usage, attempt, failed) : [];
  return [...pools, ...networkFixes(facts, cause.code, cause.sentence), ...systemFixes(facts, cause)];
}

function notesOf({ installation, pod, beside }: Facts, attempts: readonly Attempt[]): readonly string[] {
  const failing = attempts.filter(({ failure }) => failure !== undefined);
  const isSome = pod.nodeName === undefined && failing.length > 0 && failing.length < attempts.length;
  return [
    ...(isSome
      ? [
          `it could not run on ${failing.map(({ node }) => node).join(", ")}: ${sentenceOf(failing[0]?.failure).message}`,
        ]
      : []),
    ...beside.refused.map((what) => `of this file, the API server would refuse ${what}`),
    ...(beside.counted.length === 0
      ? []
      : [
          `judged as if ${beside.counted.join(", ")} of this file were applied; what a command below would change of them, change in the file`,
        ]),
    ...(installation.found
      ? []
      : ["no ConfigMap of a Spiderpool release was found: its settings are taken for the defaults"]),
  ];
}
