import { labels } from "#api";
import type { Signal } from "#base";
import { type KubeClient, type Pod, pods } from "#kube";

/** The versions that the images of one node's agent and of the controllers beside it say; each once. */
export interface Versions {
  /** undefined: there is no Pod of an agent on the node. */
  readonly agent: string | undefined;
  readonly controllers: readonly string[];
}

/** Reads Pods alone, which agents themselves may do, too. */
export async function readVersions(client: KubeClient, node: string, { signal }: Signal): Promise<Versions> {
  const found = await Array.fromAsync(client.listAll(pods, { labelSelector: labels.program, signal }));
  const isOf = (name: string) => (pod: Pod) => pod.metadata.labels?.[labels.program] === name;
  const agent = found.filter(isOf("agent")).find(({ spec }) => spec?.nodeName === node);
  const controllers = found
    .filter(isOf("controller"))
    .filter(({ metadata }) => agent === undefined || metadata.namespace === agent.metadata.namespace);
  return {
    agent: agent && imageVersion(agent),
    controllers: [...new Set(controllers.map(imageVersion))].sort(),
  };
}

function imageVersion({ spec }: Pod): string {
  return versionOf(spec?.containers[0]?.image ?? "");
}

/** An image's tag or digest. A colon before a slash belongs to the registry's port. */
export function versionOf(image: string): string {
  return image.slice(repositoryOf(image).length).replace(/^[:@]/, "") || "latest";
}

/** An image's name without tag and digest. */
export function repositoryOf(image: string): string {
  return /^[^@]*?(?=(:[^/@]*)?(@.*)?$)/.exec(image)?.[0] ?? image;
}
