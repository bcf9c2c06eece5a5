import type { ContainerState, ContainerStatus, PodCondition, PodStatus } from "kubernetes-types/core/v1.d.ts";
import { apiTime, type Pod } from "../controllers/index.ts";

/** A container as its keeper sees it. Times are of the API's form. */
export type ContainerPhase =
  | { readonly kind: "waiting"; readonly reason: "ContainerCreating" | "CrashLoopBackOff" }
  | { readonly kind: "running"; readonly startedAt: string }
  | { readonly kind: "ended"; readonly startedAt: string; readonly finishedAt: string; readonly code: number };

/** A container as the Pod's status shows it. */
export interface ContainerView {
  readonly phase: ContainerPhase;
  readonly restarts: number;
}

interface PodView {
  readonly nodeIp: string;
  /** Empty until the sandbox has its network. */
  readonly podIps: readonly string[];
  readonly startedAt: string;
  readonly containers: ReadonlyMap<string, ContainerView>;
}

/** A Pod's status as a kubelet reports it. Conditions of others stay; a condition that says the same keeps its time. Pure. */
export function podStatus(pod: Pod, view: PodView, now: Date): PodStatus {
  const views = pod.spec.containers.map(({ name }) => view.containers.get(name) ?? notStarted);
  const phase = phaseOf(pod, views);
  const ready = phase === "Running" && views.every((one) => one.phase.kind === "running");
  const done = phase === "Succeeded" ? "PodCompleted" : phase === "Failed" ? "PodFailed" : undefined;
  const notReady = done ?? "ContainersNotReady";
  const said: readonly PodCondition[] = [
    { type: "PodScheduled", status: "True" },
    { type: "PodReadyToStartContainers", status: view.podIps.length > 0 ? "True" : "False" },
    { type: "Initialized", status: "True" },
    { type: "ContainersReady", status: ready ? "True" : "False", ...(!ready && { reason: notReady }) },
    { type: "Ready", status: ready ? "True" : "False", ...(!ready && { reason: notReady }) },
  ];
  const before = pod.status?.conditions ?? [];
  const foreign = before.filter(({ type }) => said.every((one) => one.type !== type));
  const [podIP] = view.podIps;
  return {
    phase,
    conditions: [...said.map((one) => withTime(one, before, now)), ...foreign],
    hostIP: view.nodeIp,
    hostIPs: [{ ip: view.nodeIp }],
    ...(podIP !== undefined && { podIP, podIPs: view.podIps.map((ip) => ({ ip })) }),
    startTime: view.startedAt,
    containerStatuses: pod.spec.containers.map(({ name, image = "" }, index) =>
      containerStatus(name, image, views[index] ?? notStarted),
    ),
  };
}

const notStarted: ContainerView = { phase: { kind: "waiting", reason: "ContainerCreating" }, restarts: 0 };

function phaseOf(pod: Pod, views: readonly ContainerView[]): string {
  const policy = pod.spec.restartPolicy ?? "Always";
  const over = views.every(
    ({ phase }) => phase.kind === "ended" && (policy === "Never" || (policy === "OnFailure" && phase.code === 0)),
  );
  if (over) return views.every(({ phase }) => phase.kind === "ended" && phase.code === 0) ? "Succeeded" : "Failed";
  return views.some(({ phase, restarts }) => phase.kind !== "waiting" || restarts > 0) ? "Running" : "Pending";
}

function containerStatus(name: string, image: string, { phase, restarts }: ContainerView): ContainerStatus {
  return {
    name,
    image,
    imageID: "",
    ready: phase.kind === "running",
    started: phase.kind === "running",
    restartCount: restarts,
    state: stateOf(phase),
  };
}

function stateOf(phase: ContainerPhase): ContainerState {
  switch (phase.kind) {
    case "waiting":
      return { waiting: { reason: phase.reason } };
    case "running":
      return { running: { startedAt: phase.startedAt } };
    case "ended": {
      const { startedAt, finishedAt, code } = phase;
      return { terminated: { exitCode: code, reason: code === 0 ? "Completed" : "Error", startedAt, finishedAt } };
    }
  }
}

function withTime(said: PodCondition, before: readonly PodCondition[], now: Date): PodCondition {
  const known = before.find(({ type }) => type === said.type);
  const since = known?.status === said.status ? known.lastTransitionTime : undefined;
  return { ...said, lastTransitionTime: since ?? apiTime(now) };
}
