import type { PluginOutput, RawCall } from "#cni";
import { at, textAt } from "../../../lab/api/index.ts";
import type { Process } from "../runtime/process.ts";
import type { Machine, Namespace } from "./machine.ts";
import type { Change, KubeObject, Server } from "./server.ts";

/** One sandbox as the runtime knows it. */
export interface Sandbox {
  readonly containerId: string;
  readonly podUid: string;
  readonly args: string;
  namespace: Namespace;
  /** `answered`: its ADD succeeded, and no DEL has begun. */
  state: "adding" | "answered" | "failed" | "removing";
}

interface KubeletOptions {
  readonly server: Server;
  readonly machine: Machine;
  readonly process: Process;
  /** What the runtime remembers over restarts of kubelet. */
  readonly sandboxes: Set<Sandbox>;
  /** An ADD was answered with success, a moment before anybody else hears of it. */
  readonly onAnswered: (sandbox: Sandbox) => void;
}

/** A shim waits so long for an agent. */
const shimMsMax = 10_000;
/** The runtime gives an ADD up after this. */
const addMsMax = 120_000;

interface Worker {
  pod: KubeObject | undefined;
  poke: PromiseWithResolvers<void>;
  /** ADDs that failed one after the other. */
  failures: number;
}

/**
 * Kubelet and container runtime of one node. They do what they guarantee and no more: a sandbox is torn down before the next
 * one of its Pod is made, DEL is repeated until it succeeds, a Pod goes from the API when its sandboxes have gone.
 */
export class Kubelet {
  readonly #options: KubeletOptions;
  readonly #workers = new Map<string, Worker>();
  /** Pods whose containers ran to their end. */
  readonly #exited = new Set<string>();
  /** Pods of which the next ADD gets a second one beside it. */
  readonly #twice = new Set<string>();
  #isCut = false;
  /** What waits waits until it is there, or until the process is killed. */
  readonly #forever = { signal: new AbortController().signal };

  constructor(options: KubeletOptions) {
    this.#options = options;
  }

  /** Follows the Pods of the node from now on. */
  start(): void {
    const { server, process, machine } = this.#options;
    const stop = server.store.listen("/pods", (change) => this.#hear(change));
    process.onKill(stop);
    // What a former kubelet had begun was cut off with it.
    for (const sandbox of this.#options.sandboxes) if (sandbox.state === "adding") sandbox.state = "failed";
    process.run(() => {
      for (const pod of server.store.list("/pods")) if (nodeOf(pod) === machine.name) this.#learn(idOf(pod), pod);
      for (const hash of machine.manifests.keys()) this.#mirror(hash);
      // Sandboxes of Pods that went while nobody looked.
      for (const { podUid } of this.#options.sandboxes) if (!this.#workers.has(podUid)) this.#learn(podUid, undefined);
    });
  }

  /** The containers of the Pod ran to their end: the sandbox goes first, the phase is told afterwards. */
  finish(podUid: string): void {
    this.#exited.add(podUid);
    this.#workers.get(podUid)?.poke.resolve();
  }

  /** The sandbox's own container died: it is replaced. */
  crash(podUid: string): void {
    for (const sandbox of this.#of(podUid)) if (sandbox.state === "answered") sandbox.state = "failed";
    this.#workers.get(podUid)?.poke.resolve();
  }

  /** Kubelet forgets that an ADD is under way (this one, or the Pod's next), and makes another sandbox meanwhile. */
  second(podUid: string): void {
    this.#twice.add(podUid);
    this.#secondNow(podUid);
  }

  #secondNow(podUid: string): void {
    const pod = this.#workers.get(podUid)?.pod;
    const [first, ...others] = this.#of(podUid);
    if (pod === undefined || first?.state !== "adding" || others.length > 0) return;
    if (this.#twice.delete(podUid)) this.#options.process.run(() => void this.#run(pod));
  }

  /** The runtime's garbage collection of its network: what is not in its list should go. */
  gc({ empty }: { readonly empty: boolean }): void {
    const { process, sandboxes } = this.#options;
    // A runtime may not collect while it adds (CNI 1.1, GC).
    if ([...sandboxes].some(({ state }) => state !== "answered")) return;
    const valid = empty ? [] : [...sandboxes].map(({ containerId }) => ({ containerID: containerId, ifname: "eth0" }));
    const config = { ...networkConfig, "cni.dev/valid-attachments": valid };
    const call = { executable: "multus", env: { CNI_COMMAND: "GC", CNI_PATH: "/opt/cni/bin" }, stdin: json(config) };
    process.run(() => void this.#call(call, 60_000));
  }

  /** The node has no way to the API server. */
  cut(cut: boolean): void {
    const { server, machine, process } = this.#options;
    this.#isCut = cut;
    if (cut) return;
    process.run(() => {
      const here = server.store.list("/pods").filter((pod) => nodeOf(pod) === machine.name);
      const uids = new Set(here.map(idOf));
      for (const pod of here) this.#learn(idOf(pod), pod);
      for (const uid of [...this.#workers.keys()]) if (!uids.has(uid)) this.#learn(uid, undefined);
    });
  }

  #hear({ type, object }: Change): void {
    const { process, machine } = this.#options;
    if (nodeOf(object) !== machine.name || this.#isCut) return;
    const pod = type === "DELETED" ? undefined : object;
    process.after(process.random.between(2, 60), () => {
      if (!this.#isCut) this.#learn(idOf(object), pod);
    });
  }

  /** A static Pod needs no mirror; where it is missing it is made again after a while. */
  #mirror(hash: string): void {
    const { process, machine, server } = this.#options;
    process.after(process.random.between(3_000, 20_000), () => {
      const body = machine.manifests.get(hash);
      if (body === undefined || server.get("/pods", body.metadata) !== undefined) return;
      if (this.#isCut) this.#mirror(hash);
      else server.create("v1", "pods", body, body.metadata.namespace);
    });
  }

  #learn(uid: string, pod: KubeObject | undefined): void {
    if (pod === undefined && this.#options.machine.manifests.has(uid)) {
      this.#mirror(uid);
      return;
    }
    const known = this.#workers.get(uid);
    if (known === undefined) {
      if (pod === undefined && this.#of(uid).length === 0) return;
      const worker = { pod, poke: Promise.withResolvers<void>(), failures: 0 };
      this.#workers.set(uid, worker);
      void this.#work(uid, worker);
      return;
    }
    known.pod = pod;
    known.poke.resolve();
  }

  async #work(uid: string, worker: Worker): Promise<void> {
    for (;;) {
      worker.poke = Promise.withResolvers();
      const { pod } = worker;
      const ends = pod === undefined || pod.metadata.deletionTimestamp !== undefined;
      if (ends || this.#exited.has(uid) || isOver(pod)) {
        for (const sandbox of this.#of(uid)) await this.#stop(sandbox);
        if (worker.pod === undefined) break;
        if (await this.#ended(worker.pod, ends)) break;
      } else {
        const broken = this.#of(uid).filter(({ state }) => state === "failed" || state === "removing");
        for (const sandbox of broken) await this.#stop(sandbox);
        if (this.#of(uid).length === 0) await this.#run(pod);
        if (this.#of(uid).some(({ state }) => state === "failed")) continue;
      }
      await worker.poke.promise;
    }
    this.#workers.delete(uid);
  }

  #of(uid: string): readonly Sandbox[] {
    return [...this.#options.sandboxes].filter(({ podUid }) => podUid === uid);
  }

  /** Tells the API that nothing of the Pod runs any more; true where it is gone. */
  async #ended(pod: KubeObject, deleted: boolean): Promise<boolean> {
    const { server, process } = this.#options;
    await this.#untilConnected();
    await process.clock.sleep(process.random.between(1, 30), this.#forever);
    const now = server.get("/pods", pod.metadata);
    if (now?.metadata.uid !== pod.metadata.uid) return true;
    if (deleted || now.metadata.deletionTimestamp !== undefined) {
      server.delete("v1", "pods", now, 0);
      return true;
    }
    if (!isOver(now)) {
      const phase = "Succeeded";
      server.update("v1", "pods", { ...now, status: { ...(now["status"] as object), phase } }, { status: true });
    }
    return false;
  }

  async #run(pod: KubeObject): Promise<void> {
    const { machine, process, sandboxes, onAnswered, server } = this.#options;
    const { name, namespace = "" } = pod.metadata;
    const uid = idOf(pod);
    // Nobody could tell a late ADD without a UID from one of the Pod that has the name by now.
    const nameless = `K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name};`;
    const isTaken = ({ args, podUid }: Sandbox) =>
      podUid !== uid && args.includes(nameless) && args.endsWith("K8S_POD_UID=");
    while ([...sandboxes].some(isTaken)) await process.clock.sleep(500, this.#forever);
    const containerId = `${machine.name}x${machine.nextSandbox++}`;
    const path = `/run/netns/${containerId}`;
    const told = pod.metadata.annotations?.["simulation/empty-uid"] === undefined ? uid : "";
    const args = `IgnoreUnknown=1;${nameless}K8S_POD_INFRA_CONTAINER_ID=${containerId};K8S_POD_UID=${told}`;
    const sandbox: Sandbox = {
      containerId,
      podUid: uid,
      args,
      namespace: machine.createNamespace(path, uid, containerId),
      state: "adding",
    };
    sandboxes.add(sandbox);
    const worker = this.#workers.get(uid);
    process.after(process.random.between(0.5, 20), () => this.#secondNow(uid));
    const { exitCode } = await this.#call(this.#callOf("ADD", sandbox), addMsMax);
    if (exitCode !== 0) {
      sandbox.state = "failed";
      const failures = worker === undefined ? 0 : worker.failures++;
      await process.clock.sleep(
        process.random.between(0.1, 1) * Math.min(1_000 * 2 ** failures, 40_000),
        this.#forever,
      );
      return;
    }
    if (worker !== undefined) worker.failures = 0;
    sandbox.state = "answered";
    onAnswered(sandbox);
    // The older one, of which kubelet had forgotten that it is being made.
    for (const other of this.#of(uid)) if (other !== sandbox && other.state === "answered") other.state = "failed";
    await this.#untilConnected();
    await process.clock.sleep(process.random.between(1, 40), this.#forever);
    const now = server.get("/pods", pod.metadata);
    if (now === undefined || idOf(now) !== uid || isOver(now) || sandbox.state !== "answered") return;
    const [podIP] = [...sandbox.namespace.links.values()].flatMap(({ ips }) => ips);
    server.update(
      "v1",
      "pods",
      { ...now, status: { phase: "Running", podIP, podIPs: [{ ip: podIP }] } },
      { status: true },
    );
  }

  /** DEL until it succeeds, then the namespace goes. */
  async #stop(sandbox: Sandbox): Promise<void> {
    const { machine, process, sandboxes } = this.#options;
    while (sandbox.state === "adding") await process.clock.sleep(500, this.#forever);
    sandbox.state = "removing";
    for (;;) {
      const { exitCode } = await this.#call(this.#callOf("DEL", sandbox), addMsMax);
      if (exitCode === 0) break;
      await process.clock.sleep(process.random.between(500, 3_000), this.#forever);
    }
    machine.removeNamespace(sandbox.namespace.path);
    sandboxes.delete(sandbox);
  }

  async #untilConnected(): Promise<void> {
    while (this.#isCut) await this.#options.process.clock.sleep(1_000, this.#forever);
  }

  #callOf(verb: string, { containerId, args, namespace }: Sandbox): RawCall {
    const there = this.#options.machine.namespaces.get(namespace.path) === namespace;
    return {
      executable: "multus",
      env: {
        CNI_COMMAND: verb,
        CNI_CONTAINERID: containerId,
        CNI_NETNS: there ? namespace.path : "",
        CNI_IFNAME: "eth0",
        CNI_ARGS: args,
        CNI_PATH: "/opt/cni/bin",
      },
      stdin: json(networkConfig),
    };
  }

  /** One start of the shim: it waits for an agent, and notices when that ends under its call. */
  async #call({ env, ...rest }: RawCall, msMax: number): Promise<PluginOutput> {
    const { machine, process } = this.#options;
    const call = { ...rest, env: { ...env, SPIDERPOOL_CALLED_MS: String(Math.floor(process.clock.monotonicMs())) } };
    for (let waitedMs = 0; machine.listener === undefined && waitedMs < shimMsMax; waitedMs += 500) {
      await process.clock.sleep(500, this.#forever);
    }
    const { listener } = machine;
    const answer = Promise.withResolvers<PluginOutput>();
    const tell = (output: PluginOutput) => process.after(0.1, () => answer.resolve(output));
    if (listener === undefined) return failed("no agent");
    const caller = new AbortController();
    const gone = new Error("the runtime gave the call up");
    listener.process.onKill(() => tell(failed("the agent ended")));
    process.onKill(() => listener.process.after(0.1, () => caller.abort(gone)));
    listener.process.after(0.2, () => {
      const exec = () => Promise.reject(new Error("there are no foreign plugins here"));
      listener.handle(call, { signal: caller.signal, exec }).then(tell, (error) => tell(failed(String(error))));
    });
    const late = process.after(msMax, () => {
      listener.process.after(0.1, () => caller.abort(gone));
      tell(failed("given up"));
    });
    const output = await answer.promise;
    late.cancelled = true;
    return output;
  }
}

const networkConfig = {
  cniVersion: "1.1.0",
  name: "spiderpool",
  type: "multus",
  clusterNetwork: "first",
  multusNamespace: "kube-system",
};

/** Where the Pod runs; "" for Pods that have the network of their node. */
export function nodeOf(pod: KubeObject): string {
  return at(pod, "spec", "hostNetwork") === true ? "" : textAt(pod, "spec", "nodeName");
}

/** The UID by which kubelet and its runtime know the Pod: of a static one the hash of its configuration. */
export function idOf({ metadata }: KubeObject): string {
  return metadata.annotations?.["kubernetes.io/config.hash"] ?? metadata.uid;
}

/** Ended for good. */
export function isOver(pod: KubeObject): boolean {
  return ["Succeeded", "Failed"].includes(String(at(pod, "status", "phase")));
}

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function failed(why: string): PluginOutput {
  return { exitCode: 1, stdout: Buffer.from(""), stderr: Buffer.from(why) };
}
