import type { Clock, Logger, Signal } from "#base";
import type { Family, Ip, IpSet } from "#ip";
import type { PoolView } from "#ipam";
import type { KubeClient } from "#kube";
import type { Claim, Holder } from "./claim.ts";
import type { Intents } from "./intents.ts";
import type { Kept } from "./kept.ts";

/** What a node's ledger is told about the node, and asks the agent. */
export interface LedgerOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: string;
  readonly bootId: string;
  readonly intents: Intents;
  readonly reserved: (family: Family) => IpSet;
  /** Whether this node still needs a claim of its own: its Pod lives, or a sandbox is there. Asked of those not in memory. */
  readonly inUse: (claim: Claim) => boolean;
  /** Whether the next Pod would find this sticky claim: whether the index (the SpiderEndpoint) names it. */
  readonly isIndexed: (claim: Claim, o: Signal) => Promise<boolean>;
  /** Resolves when new addresses may be given: not while a lost ledger is made anew. @default always */
  readonly open?: (o: Signal) => Promise<void>;
  /** The process' own life: releases go on until it ends. */
  readonly signal: AbortSignal;
}

/** One address that a NIC is to get. */
export interface ClaimRequest {
  readonly family: Family;
  /** The candidates in their order; the first that has an address is taken. */
  readonly pools: readonly PoolView[];
  readonly holder: Holder;
  /** What the Pod is told, kept in the claim. */
  readonly answer: (pool: PoolView, ip: Ip) => string;
  /** What is kept for a sticky holder. */
  readonly kept?: Kept | undefined;
}

/** The claim that a request led to. */
export interface Claimed {
  readonly claim: Claim;
  /** False: the holder had it before this call, and an undo must leave it alone. */
  readonly fresh: boolean;
}
