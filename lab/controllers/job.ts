import { isDeepStrictEqual } from "node:util";
import type { JobCondition, JobStatus } from "kubernetes-types/batch/v1.d.ts";
import type { LabClient } from "../api/index.ts";
import { apiTime } from "./events.ts";
import { isActive, type Job, type Pod } from "./kinds.ts";
import { createPod, deletePod, isEnding, isReady, ownPods } from "./own-pods.ts";

/** What a Job does next. `failed`: it gave up, and its Pods that still run are deleted. */
interface JobPlan {
  readonly create: number;
  readonly end?: "Complete" | "Failed";
}

/**
 * Makes Pods of a Job until so many have succeeded. A Pod that fails is replaced at once, `backoffLimit` times; those that have
 * finished stay until the Job is deleted. Knows neither indexed Jobs nor times.
 */
export async function reconcileJob(client: LabClient, namespace: string, name: string): Promise<void> {
  const found = await client.get<Job>("batch/v1/jobs", { namespace, name });
  if (found === undefined || found.metadata.deletionTimestamp !== undefined) return;
  const job = { ...found, kind: "Job" } as const;
  const pods = await ownPods(client, job);
  const plan = planJob(job, pods);
  await updateStatus(client, job, pods, plan.end); // Before the changes, which trigger this again.
  if (plan.end === "Failed") {
    for (const pod of pods) if (isActive(pod) && !isEnding(pod)) await deletePod(client, job, pod);
  }
  const labels = { "job-name": name, "batch.kubernetes.io/job-name": name };
  for (let missing = plan.create; missing > 0; missing--)
    await createPod(client, job, { metadata: { generateName: `${name}-` }, labels });
}

/** Pure. Without `completions`, the first Pod that succeeds completes the Job. */
export function planJob({ spec, status }: Pick<Job, "spec" | "status">, pods: readonly Pod[]): JobPlan {
  const over = status?.conditions?.find(({ type }) => type === "Complete" || type === "Failed");
  if (over !== undefined) return { create: 0, end: over.type === "Failed" ? "Failed" : "Complete" };
  const { succeeded, failed, active } = counts(pods);
  const { parallelism = 1, completions, backoffLimit = 6 } = spec;
  if (succeeded >= (completions ?? 1) && (completions !== undefined || active === 0)) {
    return { create: 0, end: "Complete" };
  }
  if (failed > backoffLimit) return { create: 0, end: "Failed" };
  if (completions === undefined) return { create: succeeded > 0 ? 0 : Math.max(0, parallelism - active) };
  return { create: Math.max(0, Math.min(parallelism, completions - succeeded) - active) };
}

function counts(pods: readonly Pod[]) {
  const inPhase = (phase: string) => pods.filter(({ status }) => status?.phase === phase).length;
  const active = pods.filter((pod) => isActive(pod) && !isEnding(pod));
  return {
    succeeded: inPhase("Succeeded"),
    failed: inPhase("Failed"),
    active: active.length,
    ready: active.filter(isReady).length,
  };
}

async function updateStatus(client: LabClient, job: Job, pods: readonly Pod[], end: JobPlan["end"]): Promise<void> {
  const { startTime = apiTime(), conditions = [], completionTime } = job.status ?? {};
  const isNew = end !== undefined && conditions.length === 0;
  const condition: JobCondition = { type: end ?? "", status: "True", lastTransitionTime: apiTime() };
  const done = isNew && end === "Complete" ? apiTime() : completionTime;
  const status: JobStatus = {
    ...counts(pods),
    startTime,
    conditions: isNew ? [condition] : conditions,
    ...(done !== undefined && { completionTime: done }),
  };
  if (isDeepStrictEqual(job.status, status)) return;
  const { namespace = "default", name } = job.metadata;
  await client.patch("batch/v1/jobs", { namespace, name }, { status }, { subresource: "status" });
}
