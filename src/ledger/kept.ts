import { type Clock, type Signal, SpiderError } from "#base";
import type { Ip } from "#ip";
import type { KubeClient } from "#kube";
import { type Claim, type Holder, isHeir } from "./claim.ts";
import { persist } from "./persist.ts";
import { readClaim } from "./writes.ts";

/** A sticky address is usually detached a moment after its Pod's end: how long an ADD waits for that, and how often it looks. */
const heldMsMax = 5_000;
const heldLookMs = 250;

/** What the index names for one NIC and family of a sticky holder. */
export interface Kept {
  /** Names of claims. */
  readonly names: readonly string[];
  /** Names of the pools that the address may still be of, whether or not a new one could be drawn from them. */
  readonly pools: readonly string[];
  /**
   * Asks the network whether anybody answers for the address: the MAC that did. Needed where the last holder was not seen to
   * end; absent where the network cannot be asked.
   */
  readonly probe?: ((ip: Ip, o: Signal) => Promise<string | undefined>) | undefined;
}

interface KeptOptions extends Signal {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Told of each look at a claim that somebody still has. */
  readonly held: (claim: Claim) => void;
}

/**
 * The claim of this name once nobody has it; undefined where it is not kept for Pods like this one. Throws STICKY_HELD where
 * somebody still has it after a while.
 */
export async function untilDetached(
  name: string,
  holder: Holder,
  { client, clock, signal, held }: KeptOptions,
): Promise<Claim | undefined> {
  for (let waitedMs = 0; ; waitedMs += heldLookMs) {
    const claim = await persist((o) => readClaim(client, name, o), { signal, clock });
    if (claim === undefined || !isHeir(claim.spec, holder)) return undefined;
    if (claim.spec.node === undefined) return claim;
    held(claim);
    if (waitedMs >= heldMsMax) throw stickyHeld(claim);
    await clock.sleep(heldLookMs, { signal });
  }
}

/** Throws STICKY_HELD where somebody still answers for an address whose last holder was not seen to end. */
export async function assertSilent(claim: Claim, probe: Kept["probe"], o: Signal): Promise<void> {
  const mac = await probe?.(claim.ip, o);
  if (mac !== undefined) throw stickyHeld(claim, `host ${mac} still answers for it`);
}

function stickyHeld({ spec }: Claim, why = `Pod ${spec.podUID} on node ${spec.node} still has it`): SpiderError {
  const pod = `${spec.podNamespace}/${spec.podName}`;
  return new SpiderError(
    "STICKY_HELD",
    `address ${spec.address} is kept for Pod ${pod} and cannot be taken yet: ${why}`,
    {
      details: {
        fix: `it becomes free when node ${spec.node ?? "that had it"} has taken down the former sandbox; of a node that is gone for good, delete the Node object`,
      },
    },
  );
}
