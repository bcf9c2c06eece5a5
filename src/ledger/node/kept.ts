import { type Clock, type Signal, SpiderError } from "#base";
import type { Ip } from "#ip";
import type { KubeClient } from "#kube";
import { type Claim, type Holder, isHeir } from "../claims/claim.ts";
import { persist } from "../claims/persist.ts";
import { readClaim } from "../claims/writes.ts";

/** How long an ADD waits until a sticky address is detached, and how often it looks. Usually that is soon after its Pod's end. */
const heldMsMax = 5_000;
const heldLookMs = 250;

/** What is kept for one NIC and family of a sticky holder, according to the index (its SpiderEndpoint). */
export interface Kept {
  /** Names of claims. */
  readonly names: readonly string[];
  /** Names of the pools that a kept address may be in, even if they could give no new one. */
  readonly pools: readonly string[];
  /**
   * Asks the network whether anybody answers for the address; returns the MAC address that did. Used if nobody has seen the
   * end of the last holder. Absent if the network cannot be asked.
   */
  readonly probe?: ((ip: Ip, o: Signal) => Promise<string | undefined>) | undefined;
}

interface KeptOptions extends Signal {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Called whenever the claim still has a holder. */
  readonly held: (claim: Claim) => void;
}

/**
 * Waits until no sandbox has the claim of this name, and returns it; undefined if it is not kept for Pods like this one. Throws
 * STICKY_HELD if it still has a holder after 5 s.
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

/** Throws STICKY_HELD if somebody on the network still answers for the address. */
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
