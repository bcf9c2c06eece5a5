import { annotations } from "#api";
import { shape } from "../history.ts";
import { Random } from "../runtime/random.ts";
import { soon } from "../runtime/soon.ts";
import type { Time } from "../runtime/time.ts";
import { isOver } from "./kubelet.ts";
import type { KubeObject, Server } from "./server.ts";

export const deploymentTable = "apps/deployments";
export const subnetName = "parts";
const namespace = "default";

interface ApplicationsOptions {
  readonly server: Server;
  readonly time: Time;
  readonly seed: string;
}

/** What an application asks for. */
interface Wanted {
  readonly replicas: number;
  /** Addresses of its pool: `3`, or `+1` above the replicas. */
  readonly ipNumber: string;
  /** Whether its pool goes with it. */
  readonly reclaim: boolean;
}

/**
 * Deployments whose Pods have their addresses from a part of a subnet, and what Kubernetes' controllers do for them: one
 * ReplicaSet for each, as many Pods as it says, on any node. Their templates change without a rollout, which would be Pods that
 * go and Pods that come: `restart` is that.
 */
export class Applications {
  readonly #options: ApplicationsOptions;
  readonly #random: Random;
  #pods = 0;
  readonly #poke: () => void;

  constructor(options: ApplicationsOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, "applications");
    this.#poke = soon(options.time, this.#random, () => this.#reconcile());
    options.server.store.listen("/pods", ({ object }) => {
      if (ownerOf(object) !== undefined) this.#poke();
    });
  }

  /** Makes it where it is not there. */
  want(app: number, { replicas, ipNumber, reclaim }: Wanted): void {
    const { server } = this.#options;
    const name = nameOf(app);
    const found = server.get(deploymentTable, { namespace, name });
    const asked = {
      [annotations.subnet]: JSON.stringify({ ipv4: [subnetName] }),
      [annotations.poolIpNumber]: ipNumber,
      [annotations.poolReclaim]: String(reclaim),
    };
    const spec = { replicas, selector: {}, template: { metadata: { annotations: asked }, spec: { containers: [] } } };
    if (found === undefined) {
      const made = server.create(
        ...([
          "apps/v1",
          "deployments",
          { kind: "Deployment", metadata: { name, namespace }, spec },
          namespace,
        ] as const),
      );
      const owner = { apiVersion: "apps/v1", kind: "Deployment", name, uid: made.metadata.uid, controller: true };
      const metadata = { name: `${name}-1`, namespace, ownerReferences: [owner] };
      server.create("apps/v1", "replicasets", { kind: "ReplicaSet", metadata, spec }, namespace);
    } else server.update("apps/v1", "deployments", { ...found, spec });
    this.#poke();
  }

  /** What it asks for; undefined: it is not there. */
  asked(app: number): Wanted | undefined {
    const found = this.#options.server.get(deploymentTable, { namespace, name: nameOf(app) });
    if (found === undefined) return undefined;
    const { replicas, template } = found["spec"] as { readonly replicas: number; readonly template: KubeObject };
    const { [annotations.poolIpNumber]: ipNumber = "", [annotations.poolReclaim]: reclaim } =
      template.metadata.annotations ?? {};
    return { replicas, ipNumber, reclaim: reclaim === "true" };
  }

  /** Its ReplicaSet and its Pods go with it. */
  delete(app: number): void {
    const { server } = this.#options;
    const name = nameOf(app);
    const found = server.get(deploymentTable, { namespace, name });
    const set = server.get("apps/replicasets", { namespace, name: `${name}-1` });
    if (found !== undefined) server.delete("apps/v1", "deployments", found, 0);
    if (set !== undefined) server.delete("apps/v1", "replicasets", set, 0);
    this.restart(app);
  }

  /** All its Pods are deleted; if it is there, others come. */
  restart(app: number): void {
    for (const pod of this.#podsOf(`${nameOf(app)}-1`)) this.#options.server.delete("v1", "pods", pod);
  }

  #podsOf(set: string): readonly KubeObject[] {
    const pods = this.#options.server.store.list("/pods", namespace);
    return pods.filter((pod) => ownerOf(pod) === set && pod.metadata.deletionTimestamp === undefined && !isOver(pod));
  }

  #reconcile(): void {
    const { server } = this.#options;
    for (const deployment of server.store.list(deploymentTable, namespace)) {
      const { replicas, template } = deployment["spec"] as { readonly replicas: number; readonly template: KubeObject };
      const set = server.get("apps/replicasets", { namespace, name: `${deployment.metadata.name}-1` });
      if (set === undefined) continue;
      const there = this.#podsOf(set.metadata.name);
      for (const pod of there.slice(replicas)) server.delete("v1", "pods", pod);
      const { annotations: asked = {} } = template.metadata;
      for (let at = there.length; at < replicas; at++) this.#create(set, asked);
    }
  }

  #create({ metadata: { name: set, uid } }: KubeObject, asked: Readonly<Record<string, string>>): void {
    const nodeName = `n${1 + this.#random.int(shape.nodes)}`;
    const spec = { nodeName, restartPolicy: "Always", terminationGracePeriodSeconds: 2, containers: [] };
    const ownerReferences = [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: set, uid, controller: true }];
    const metadata = { name: `${set}-${this.#pods++}`, namespace, annotations: asked, ownerReferences };
    this.#options.server.create("v1", "pods", { kind: "Pod", metadata, spec }, namespace);
  }
}

function nameOf(app: number): string {
  return `app-${app}`;
}

/** The name of the ReplicaSet that has the Pod; undefined: it is not an application's. */
function ownerOf({ metadata }: KubeObject): string | undefined {
  const [owner] = metadata.ownerReferences ?? [];
  return owner?.kind === "ReplicaSet" ? owner.name : undefined;
}

/** The Deployment whose Pod this is; undefined: it is another's. */
export function deploymentOf(server: Server, pod: KubeObject): KubeObject | undefined {
  return server.get(deploymentTable, { namespace, name: ownerOf(pod)?.replace(/-1$/, "") ?? "" });
}

/** Whether the Pod gets its addresses from a part of a subnet. */
export function isOfApplication(pod: KubeObject): boolean {
  return ownerOf(pod) !== undefined;
}

/** How many addresses its pool is to have. */
export function sizeWanted(deployment: KubeObject): number {
  const { replicas, template } = deployment["spec"] as { readonly replicas: number; readonly template: KubeObject };
  const asked = template.metadata.annotations?.[annotations.poolIpNumber] ?? "";
  return asked.startsWith("+") ? replicas + Number(asked) : Number(asked);
}
