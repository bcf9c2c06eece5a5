import type { KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";

/** One address in use: its name is the address, and its existence is the allocation. */
export interface SpiderIPAddress extends KubeObject {
  readonly spec: SpiderIPAddressSpec;
}

export const purposes = ["Pod", "Sticky", "Lease", "Hold", "Quarantine"] as const;
export type Purpose = (typeof purposes)[number];

/** Flat scalars only: such an object costs 1.2 KB on the wire, a nested one 2 KB. */
export interface SpiderIPAddressSpec {
  readonly format: number;
  /** Canonical; IPv6 in eight groups of four hex digits. `metadata.name` is the same with `-` for `:`. */
  readonly address: string;
  readonly purpose: Purpose;
  readonly pool: string;
  readonly poolUID: string;
  readonly poolGeneration: number;
  readonly node?: string;
  /** Another boot: the sandbox is certainly gone. */
  readonly bootID?: string;
  readonly podNamespace?: string;
  readonly podName?: string;
  readonly podUID?: string;
  readonly nic?: string;
  readonly slot?: number;
  readonly containerID?: string;
  readonly network?: string;
  readonly owner?: string;
  readonly ownerUID?: string;
  readonly nextNode?: string;
  readonly nextPodName?: string;
  readonly nextPodUID?: string;
  readonly nextContainerID?: string;
  /** JSON text: what the Pod was told. */
  readonly answer?: string;
  readonly since?: string;
  readonly unclean?: boolean;
  readonly until?: string;
  readonly reason?: string;
  readonly mac?: string;
}

export const spiderIPAddresses: Resource<SpiderIPAddress> = ours("spideripaddresses", "SpiderIPAddress");
