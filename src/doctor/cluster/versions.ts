import { labels } from "#api";
import type { Signal } from "#base";
import { type KubeClient, type Pod, pods } from "#kube";

/** The versions that the images of one node's agent and of the controllers beside it say; each once. */
export interface Versions {
  /** undefined: there is no Pod of an agent on the node. */
  readonly agent: string | undefined;
  readonly controllers: readonly string[];
  /** A controller is certainly of another version than the agent. */
  readonly differ: boolean;
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
    agent: agent && versionOf(imageOf(agent)),
    controllers: [...new Set(controllers.map((pod) => versionOf(imageOf(pod))))].sort(),
    differ: agent !== undefined && controllers.some((pod) => isOtherVersion(imageOf(pod), imageOf(agent))),
  };
}

function imageOf({ spec }: Pod): string {
  return spec?.containers[0]?.image ?? "";
}

/** An image's tag or digest. A colon before a slash belongs to the registry's port. */
export function versionOf(image: string): string {
  return image.slice(repositoryOf(image).length).replace(/^[:@]/, "") || "latest";
}

/**
 * Whether two images are certainly of different versions. A digest says nothing beside a tag, nor beside the digest of an image of
 * another name.
 */
export function isOtherVersion(one: string, other: string): boolean {
  const versions = [versionOf(one), versionOf(other)];
  const digests = versions.filter((version) => version.includes(":")).length;
  if (digests === 1 || (digests === 2 && repositoryOf(one) !== repositoryOf(other))) return false;
  return versions[0] !== versions[1];
}

/** An image's name without tag and digest. */
export function repositoryOf(image: string): string {
  return /^[^@]*?(?=(:[^/@]*)?(@.*)?$)/.exec(image)?.[0] ?? image;
}
