import type { KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";

/** Who uses what of the pool of the same name, as of one moment: makes the agents' guesses good. Written by the leader. */
export interface SpiderPoolUsage extends KubeObject {
  readonly spec: SpiderPoolUsageSpec;
}

export interface SpiderPoolUsageSpec {
  readonly poolUID: string;
  readonly poolGeneration: number;
  readonly free: number;
  /** Ranges in normal form. */
  readonly used?: readonly string[];
  /** Free, but released a moment ago. */
  readonly cooling?: readonly string[];
  /** The nodes that draw from the pool now; a node's position is its rank. */
  readonly nodes?: readonly string[];
  readonly publishedAt: string;
}

export const spiderPoolUsages: Resource<SpiderPoolUsage> = ours("spiderpoolusages", "SpiderPoolUsage");
