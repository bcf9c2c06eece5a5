import { randomBytes, randomUUID } from "node:crypto";
import { createNetns, deleteNetns } from "#linux";
import type { LabClient } from "../lab/api/index.ts";
import type { Sandbox } from "../lab/node/index.ts";

/** Pods of the bench: bound to a node, with sandboxes but without containers, since their kubelet is held. */
export class Pods {
  readonly #client: LabClient;
  readonly #nodeName: string;
  readonly #annotations: Readonly<Record<string, string>>;

  constructor(
    client: LabClient,
    { nodeName, annotations }: { readonly nodeName: string; readonly annotations: Readonly<Record<string, string>> },
  ) {
    this.#client = client;
    this.#nodeName = nodeName;
    this.#annotations = annotations;
  }

  async make(namespace = "default"): Promise<Sandbox> {
    const name = `bench-${randomBytes(5).toString("hex")}`;
    const pod = await this.#client.create("v1/pods", {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace, annotations: this.#annotations },
      spec: { nodeName: this.#nodeName, containers: [{ name: "app", image: "none" }] },
    });
    return newSandbox({ namespace, name, uid: pod.metadata.uid });
  }

  async makeMany(count: number): Promise<readonly Sandbox[]> {
    const made: Sandbox[] = [];
    for (let at = 0; at < count; at++) made.push(await this.make());
    return made;
  }

  /** What happens before the DEL of its sandbox. */
  async requestDeletion({ pod: { namespace, name } }: Sandbox): Promise<void> {
    await this.#client.delete("v1/pods", { namespace, name }, { gracePeriodSeconds: 30 });
  }

  /** What happens after the DEL of its sandbox. */
  async forget({ netns, pod: { namespace, name } }: Sandbox): Promise<void> {
    if (netns !== "") deleteNetns(netns);
    await this.#client.delete("v1/pods", { namespace, name }, { gracePeriodSeconds: 0 });
  }
}

/** Creates a network namespace for a new sandbox of the Pod. */
export function newSandbox(pod: Sandbox["pod"]): Sandbox {
  const netns = `/var/run/netns/cni-${randomUUID()}`;
  createNetns(netns)[Symbol.dispose](); // Held open, it would outlive its path, and what is in it would too.
  return { containerId: randomBytes(32).toString("hex"), netns, pod };
}
