import { annotations, spiderIPAddresses } from "#api";
import { SpiderError } from "#base";
import { claimName, formatIp } from "#ip";
import { hasReason, nodes, pods } from "#kube";
import { type Claim, claimOf } from "#ledger";
import type { Cluster } from "../cluster.ts";
import { exitFailed, exitOk } from "../io.ts";
import type { Context } from "../program.ts";
import { holderOf, parseAddress } from "./show.ts";

interface ReleaseFlags {
  readonly address: string | undefined;
  readonly force: boolean;
  readonly dryRun: boolean;
}

/**
 * Asks the controller to release one address, by a mark on its claim that names the claim's UID: the mark means nothing to
 * a later claim on the same address. Without `force` it refuses while anything of the holder may still use the address.
 */
export async function releaseIp({ address, force, dryRun }: ReleaseFlags, { io, cluster }: Context): Promise<number> {
  if (address === undefined) throw new SpiderError("OPTIONS_INVALID", "ip release: name the address to release");
  const ip = parseAddress(address);
  const object = await cluster.client.get(spiderIPAddresses, { name: claimName(ip) }, io);
  const claim = object && claimOf(object);
  if (claim === undefined) {
    io.out(`${formatIp(ip)} is not claimed: there is nothing to release\n`);
    return exitOk;
  }
  const inUse = await whatStillUses(claim, cluster, io.signal);
  if (inUse !== undefined && !force) {
    io.err(`error: ${formatIp(ip)} is not released: ${inUse}\n`);
    return exitFailed;
  }
  const why = inUse === undefined ? `${holderOf(claim) || "its holder"} is gone` : `forced, although ${inUse}`;
  if (dryRun) {
    io.out(`${formatIp(ip)} would be released (${why})\n`);
    return exitOk;
  }
  await mark(claim, cluster, io.signal);
  io.out(`${formatIp(ip)} marked for release (${why}); the controller releases it and records an Event\n`);
  return exitOk;
}

/** What stands against the release, as a sentence with the way out; undefined where nothing does. */
async function whatStillUses({ spec }: Claim, { client }: Cluster, signal: AbortSignal): Promise<string | undefined> {
  const { podNamespace: namespace, podName: name, podUID, node, purpose, until } = spec;
  if (purpose === "Hold" || purpose === "Quarantine") {
    return `it is kept as ${purpose} until ${until ?? "further notice"} (${spec.reason ?? "no reason given"}); --force ends that`;
  }
  if (name !== undefined) {
    const pod = await client.get(pods, { namespace, name }, { signal });
    const isHolder = pod !== undefined && (purpose === "Sticky" || pod.metadata.uid === podUID);
    if (isHolder) return `Pod ${namespace}/${name} exists; delete the Pod, or use --force`;
  }
  if (purpose === "Sticky") return `it is kept for ${spec.owner ?? "its owner"}; delete that, or use --force`;
  if (node === undefined) return undefined;
  // Its sandbox may outlive the Pod's object: the agent of a live node releases by itself when it is gone.
  const held = await client.get(nodes, { name: node }, { signal });
  const ready = held?.status?.conditions?.find(({ type }) => type === "Ready")?.status;
  if (held === undefined || ready === "True") return undefined;
  return `node ${node} does not answer, and the Pod's sandbox may still run there; make sure that it does not, then use --force`;
}

async function mark(claim: Claim, { client }: Cluster, signal: AbortSignal): Promise<void> {
  const { name, uid, resourceVersion } = claim;
  const metadata = { uid, resourceVersion, annotations: { [annotations.forceRelease]: uid } };
  try {
    await client.patch(spiderIPAddresses, { name }, { kind: "merge", body: { metadata } }, { signal });
  } catch (cause) {
    if (!hasReason(cause, "Conflict") && !hasReason(cause, "NotFound")) throw cause;
    throw new SpiderError("CLAIM_CHANGED", `the claim on ${name} changed meanwhile and was left alone: look again`, {
      cause,
    });
  }
}
