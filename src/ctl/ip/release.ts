import { annotations, spiderIPAddresses } from "#api";
import { type Signal, SpiderError } from "#base";
import { claimName, formatIp, type Ip } from "#ip";
import { hasReason, isPodUid, nodes, pods } from "#kube";
import { type Claim, claimOf, readOwner } from "#ledger";
import type { Cluster } from "../cluster.ts";
import { findInstallation } from "../explain/installation.ts";
import { exitFailed, exitOk } from "../io.ts";
import { formatItems } from "../output.ts";
import type { Context } from "../run.ts";
import { holderOf, parseAddress } from "./show.ts";

interface ReleaseFlags {
  readonly address: string | undefined;
  readonly force: boolean;
  readonly dryRun: boolean;
}

/** The outcome for one address. */
interface Released {
  readonly address: string;
  /** `marked`: the controller releases it; `wouldBeMarked`: on a dry run; `unclaimed`: there is nothing to release. */
  readonly outcome: "marked" | "wouldBeMarked" | "refused" | "unclaimed";
  readonly reason: string;
  /** What to do instead, if it is refused. */
  readonly fix?: string;
}

/** `ip release`: prints the outcome. The exit status is 1 if the release is refused. */
export async function releaseIp(
  { address, force, dryRun }: ReleaseFlags,
  { io, cluster, output }: Context,
): Promise<number> {
  if (address === undefined) throw new SpiderError("OPTIONS_INVALID", "ip release: name the address to release");
  const released = await release(parseAddress(address), { force, dryRun }, cluster, io);
  return printReleased([released], { io, output });
}

/**
 * Asks the controller to release one address, by a mark on its claim that names the claim's UID, so that it does not affect a
 * later claim on the same address. Without `force` it refuses while anything of the holder may still use the address.
 */
export async function release(
  ip: Ip,
  { force, dryRun }: Pick<ReleaseFlags, "force" | "dryRun">,
  cluster: Cluster,
  o: Signal,
): Promise<Released> {
  const address = formatIp(ip);
  const object = await cluster.client.get(spiderIPAddresses, { name: claimName(ip) }, o);
  const claim = object && claimOf(object);
  if (claim === undefined) return { address, outcome: "unclaimed", reason: "there is nothing to release" };
  const use = await whatStillUses(claim, cluster, o.signal);
  if (use !== undefined && !force) return { address, outcome: "refused", ...use };
  const reason = use === undefined ? `${holderOf(claim) || "its holder"} is gone` : `forced, although ${use.reason}`;
  if (dryRun) return { address, outcome: "wouldBeMarked", reason };
  await mark(claim, cluster, o.signal);
  return { address, outcome: "marked", reason };
}

/** Prints in the format that was asked for; returns the exit status. */
export function printReleased(list: readonly Released[], { io, output }: Pick<Context, "io" | "output">): number {
  const isRefused = list.some(({ outcome }) => outcome === "refused");
  const items = formatItems(list, output);
  if (items !== undefined) io.out(items);
  else for (const one of list) printOne(one, { io, output });
  return isRefused ? exitFailed : exitOk;
}

function printOne({ address, outcome, reason, fix }: Released, { io, output }: Pick<Context, "io" | "output">): void {
  if (outcome === "refused") io.err(`error: ${address} is not released: ${reason}; ${fix}\n`);
  else if (output === "name") {
    if (outcome !== "unclaimed")
      io.out(`${spiderIPAddresses.kind.toLowerCase()}.${spiderIPAddresses.group}/${address}\n`);
  } else if (outcome === "unclaimed") io.out(`${address} is not claimed: ${reason}\n`);
  else if (outcome === "wouldBeMarked") io.out(`${address} would be released (${reason})\n`);
  else io.out(`${address} marked for release (${reason}); the controller releases it and records an Event\n`);
}

/** Why the address must not be released, and what to do instead; undefined if it may be. */
async function whatStillUses(
  { spec }: Claim,
  cluster: Cluster,
  signal: AbortSignal,
): Promise<{ readonly reason: string; readonly fix: string } | undefined> {
  const { client } = cluster;
  const { podNamespace: namespace, podName: name, podUID, node, purpose, until } = spec;
  if (purpose === "Hold" || purpose === "Quarantine") {
    const reason = `it is kept as ${purpose} until ${until ?? "further notice"} (${spec.reason ?? "no reason given"})`;
    return { reason, fix: "--force ends that" };
  }
  if (name !== undefined) {
    const pod = await client.get(pods, { namespace, name }, { signal });
    const isHolder = pod !== undefined && (purpose === "Sticky" || isPodUid(pod, podUID ?? ""));
    if (isHolder) return { reason: `Pod ${namespace}/${name} exists`, fix: "delete the Pod, or use --force" };
  }
  if (purpose === "Sticky") {
    const { settings } = await findInstallation(cluster, signal);
    const wanted = await readOwner(client, { owner: spec.owner ?? "", podName: name ?? "" }, settings, { signal });
    if (wanted.kind !== "invalid") {
      const fix = "when that wants it no more, the controller releases it by itself; --force does it now";
      return { reason: `it is kept for ${spec.owner ?? "its owner"}`, fix };
    }
    if (spec.unclean === true) {
      const reason = `${wanted.why}, but nobody saw the last sandbox end that had the address`;
      return { reason, fix: "the controller releases it after a quarantine; --force does it now" };
    }
  }
  if (node === undefined) return undefined;
  // Its sandbox may outlive the Pod's object, as where that was deleted by force: only the node can tell.
  const held = await client.get(nodes, { name: node }, { signal });
  if (held === undefined) return undefined;
  const ready = held.status?.conditions?.find(({ type }) => type === "Ready")?.status;
  return ready === "True"
    ? {
        reason: `node ${node} may still have the Pod's sandbox, and its agent releases the address when that has ended`,
        fix: "wait for that; if it certainly has ended, use --force",
      }
    : {
        reason: `node ${node} does not answer, and the Pod's sandbox may still run there`,
        fix: "make sure that it does not, then use --force",
      };
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
