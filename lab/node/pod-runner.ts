import type { Container } from "kubernetes-types/core/v1.d.ts";
import { abortable, type Clock, formatError, type Logger } from "#base";
import { isStatus, type LabClient } from "../api/index.ts";
import { apiTime, type Happening, type Pod, recordEvent } from "../controllers/index.ts";
import { type RunningContainer, startContainer } from "./containers.ts";
import type { Network, Sandboxes } from "./sandboxes.ts";
import { type ContainerView, podStatus } from "./status.ts";

/** What the Pods of one node share. */
export interface PodHost {
  readonly client: LabClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly sandboxes: Sandboxes;
  readonly nodeName: string;
  readonly nodeIp: string;
  /** Asks for {@link PodRunner.writeStatus} soon. */
  reportLater(podUid: string): void;
}

/** The first and the longest wait before a sandbox or container is retried; each wait doubles the one before. */
const retryFirstMs = 1_000;
const retryMaxMs = 10_000;

/** Runs one Pod on its node, from its binding to its removal from the API. */
export class PodRunner {
  readonly #host: PodHost;
  readonly #stop = new AbortController();
  readonly #startedAt: string;
  readonly #views = new Map<string, ContainerView>();
  readonly #running = new Map<string, RunningContainer>();
  #pod: Pod;
  #podIps: readonly string[] = [];

  constructor(host: PodHost, pod: Pod) {
    this.#host = host;
    this.#pod = pod;
    this.#startedAt = pod.status?.startTime ?? apiTime(host.clock.wall());
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** Takes the newest state from the API. Stops a Pod that is being deleted. */
  update(pod: Pod): void {
    this.#pod = pod;
    if (pod.metadata.deletionTimestamp !== undefined) this.stop();
    // The control plane counted this node as lost.
    else if (pod.status?.conditions?.some(({ reason }) => reason === "NodeNotReady")) this.#report();
  }

  stop(): void {
    this.#stop.abort(new Error("the Pod is to end"));
  }

  /** A container that runs now. */
  container(name: string): RunningContainer | undefined {
    return this.#running.get(name);
  }

  logFile(container: string): string {
    const { namespace, name, uid } = this.#pod.metadata;
    return `/var/log/pods/${namespace}_${name}_${uid}/${container}/0.log`;
  }

  /** Resolves when the Pod is gone from the node and from the API, or `signal` aborts: its containers and network then stay. */
  async run(signal: AbortSignal): Promise<void> {
    const phase = this.#pod.status?.phase;
    const ended = phase === "Succeeded" || phase === "Failed";
    await this.#removeSandboxes(signal); // From before the node's restart.
    if (!ended && !this.#stop.signal.aborted) await this.#live();
    for (;;) {
      await this.#removeSandboxes(signal);
      if (this.#pod.metadata.deletionTimestamp !== undefined) break;
      if (this.#stop.signal.aborted) return; // The Pod is gone from the API already.
      await abortable(new Promise<void>((resolve) => this.#onStop(resolve)), signal);
    }
    const { namespace = "default", name, uid } = this.#pod.metadata;
    await this.#insist(signal, async () => {
      await this.#host.client.delete("v1/pods", { namespace, name }, { uid, gracePeriodSeconds: 0 });
    });
  }

  /** Writes the Pod's present status to the API. */
  async writeStatus(): Promise<void> {
    const { client, clock, nodeIp } = this.#host;
    const view = { nodeIp, podIps: this.#podIps, startedAt: this.#startedAt, containers: this.#views };
    const status = podStatus(this.#pod, view, clock.wall());
    const { namespace = "default", name, uid } = this.#pod.metadata;
    try {
      await client.patch("v1/pods", { namespace, name }, { metadata: { uid }, status }, { subresource: "status" });
    } catch (error) {
      if (!isStatus(error, 404) && !isStatus(error, 409)) throw error; // The Pod is gone, or there is a new one of the same name.
    }
  }

  async #live(): Promise<void> {
    this.#report();
    const { hostNetwork, containers } = this.#pod.spec;
    const network = hostNetwork === true ? undefined : await this.#connect();
    if (this.#stop.signal.aborted) return;
    this.#podIps = network?.ips ?? [this.#host.nodeIp];
    await Promise.all(containers.map((container) => this.#keep(container, network?.sandbox.netns)));
    this.#report();
  }

  /** Retries until the Pod has its network or must end. */
  async #connect(): Promise<Network | undefined> {
    for (let waitMs = retryFirstMs; !this.#stop.signal.aborted; waitMs = Math.min(retryMaxMs, waitMs * 2)) {
      try {
        return await this.#host.sandboxes.create(this.#pod);
      } catch (error) {
        const message = `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox: ${formatError(error)}`;
        await this.#tell({ type: "Warning", reason: "FailedCreatePodSandBox", message });
      }
      await this.#pause(waitMs);
    }
    return undefined;
  }

  /** Runs one container, again and again if the restart policy says so. */
  async #keep(container: Container, netns: string | undefined): Promise<void> {
    const { name } = container;
    const { clock } = this.#host;
    for (let restarts = 0, waitMs = retryFirstMs; ; restarts++, waitMs = Math.min(retryMaxMs, waitMs * 2)) {
      const startedAt = apiTime(clock.wall());
      const running = startContainer({
        pod: this.#pod,
        container,
        logFile: this.logFile(name),
        ...(netns !== undefined && { netns }),
      });
      this.#running.set(name, running);
      this.#show(name, { phase: { kind: "running", startedAt }, restarts });
      await this.#tell({ type: "Normal", reason: "Started", message: `Started container ${name}` });
      const stopped = this.#onStop(() => void running.stop(this.#graceMs()));
      const code = await running.exited;
      stopped();
      this.#running.delete(name);
      const phase = { kind: "ended", startedAt, finishedAt: apiTime(clock.wall()), code } as const;
      this.#show(name, { phase, restarts });
      if (this.#stop.signal.aborted || !this.#restarts(code)) return;
      this.#show(name, { phase: { kind: "waiting", reason: "CrashLoopBackOff" }, restarts });
      await this.#pause(waitMs);
      if (this.#stop.signal.aborted) return;
    }
  }

  #restarts(code: number): boolean {
    const policy = this.#pod.spec.restartPolicy ?? "Always";
    return policy === "Always" || (policy === "OnFailure" && code !== 0);
  }

  #graceMs(): number {
    const { deletionGracePeriodSeconds, deletionTimestamp } = this.#pod.metadata;
    if (deletionTimestamp === undefined) return 0; // Force-deleted from the API.
    return (deletionGracePeriodSeconds ?? this.#pod.spec.terminationGracePeriodSeconds ?? 30) * 1_000;
  }

  async #removeSandboxes(signal: AbortSignal): Promise<void> {
    await this.#insist(signal, async () => {
      const { sandboxes } = this.#host;
      for (const sandbox of await sandboxes.recorded(this.#pod.metadata.uid)) await sandboxes.remove(sandbox);
    });
  }

  /** Retries work that must succeed before the Pod may go. */
  async #insist(signal: AbortSignal, act: () => Promise<void>): Promise<void> {
    for (let waitMs = retryFirstMs; ; waitMs = Math.min(retryMaxMs, waitMs * 2)) {
      try {
        return await act();
      } catch (error) {
        const message = `error killing pod: ${formatError(error)}`;
        await this.#tell({ type: "Warning", reason: "FailedKillPod", message });
      }
      await this.#host.clock.sleep(waitMs, { signal });
    }
  }

  #show(name: string, view: ContainerView): void {
    this.#views.set(name, view);
    this.#report();
  }

  #report(): void {
    this.#host.reportLater(this.#pod.metadata.uid);
  }

  #tell(happening: Omit<Happening, "component">): Promise<void> {
    const { client, nodeName, log } = this.#host;
    const subject = { apiVersion: "v1", kind: "Pod", metadata: this.#pod.metadata };
    if (happening.type === "Warning")
      log.warn({ pod: this.#pod.metadata.name, reason: happening.reason }, happening.message);
    return recordEvent(client, subject, { ...happening, component: "kubelet", host: nodeName });
  }

  /** Waits, but only until the Pod must end. */
  async #pause(ms: number): Promise<void> {
    await this.#host.clock.sleep(ms, { signal: this.#stop.signal }).catch(() => {});
  }

  /** Calls back once when the Pod must end, at once if it already must. The returned function unsubscribes. */
  #onStop(act: () => void): () => void {
    const { signal } = this.#stop;
    if (signal.aborted) act();
    else signal.addEventListener("abort", act, { once: true });
    return () => signal.removeEventListener("abort", act);
  }
}
