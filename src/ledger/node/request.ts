import type { Clock, Logger, Signal } from "#base";
import type { Family, Ip, IpSet } from "#ip";
import type { PoolView } from "#ipam";
import type { KubeClient } from "#kube";
import type { Claim, Holder } from "../claims/claim.ts";
import type { Intents } from "./intents.ts";
import type { Kept } from "./kept.ts";

/** What a node's ledger knows about the node, and what it asks the agent. */
export interface LedgerOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: string;
  readonly bootId: string;
  readonly intents: Intents;
  readonly reserved: (family: Family) => IpSet;
  /** Whether this node needs a claim that is not in memory: its Pod runs, or there is a sandbox. */
  readonly inUse: (claim: Claim) => boolean;
  /** Whether the index (the SpiderEndpoint) names this sticky claim, so that the next Pod finds it. */
  readonly isIndexed: (claim: Claim, o: Signal) => Promise<boolean>;
  /** Resolves when new addresses may be given, which is not so while a lost ledger is restored. @default always */
  readonly open?: (o: Signal) => Promise<void>;
  /** Aborted when the process ends. Releases and watches go on until then. */
  readonly signal: AbortSignal;
}

/** A request for one address of a NIC. */
export interface ClaimRequest {
  readonly family: Family;
  /** The candidates in their order. The first one with a free address is used. */
  readonly pools: readonly PoolView[];
  readonly holder: Holder;
  /** The answer to the Pod, which the claim keeps. */
  readonly answer: (pool: PoolView, ip: Ip) => string;
  /** The addresses that are kept for a sticky holder. */
  readonly kept?: Kept | undefined;
}

/** The claim that a request led to. */
export interface Claimed {
  readonly claim: Claim;
  /** False if the holder had it before this call. Then an undo must not release it. */
  readonly fresh: boolean;
}
