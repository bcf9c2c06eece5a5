import { setImmediate } from "node:timers/promises";
import { type SpiderIPAddress, spiderEndpoints, spiderIPAddresses } from "#api";
import { formatError, type Signal } from "#base";
import { routesAskedBy } from "#ipam";
import { hasReason, isPodAlive, isPodUid, keyOf, metadataOf, type Pod, pods, type Store, TopControllers } from "#kube";
import { type Claim, claimOf, endpointDraft, endpointNics, endpointOf, isHeld, parseOwner } from "#ledger";
import type { Deps } from "../deps.ts";
import { removeEndpoint } from "./endpoints.ts";

/** How long after a list the next one is made; longer where a list takes long, because it is of the whole cluster. */
const lookEveryMs = 30_000;
const restPerList = 100;
/** So many claims are looked at in one round of the event loop. */
const lookedAtOnce = 1_000;
/** How many are made after one list: there may be 150,000. */
const madeMax = 1_000;
/** Agents show an ordinary Pod within two minutes after its ADD. */
const shownMsMax = 180_000;

interface MissingOptions {
  readonly claims: Store<SpiderIPAddress>;
  /** The Pod of that key as the watch shows it. */
  readonly pod: (key: string) => Pod | undefined;
}

/**
 * Makes SpiderEndpoints again that somebody deleted, one by one or with their definition. Agents write the endpoint of a Pod at its
 * ADD, and look for a StatefulSet's again only when the Pod ends; the next Pod finds its kept addresses by it: on another node it
 * would get others.
 */
export async function runMissingEndpoints(deps: Deps, options: MissingOptions, { signal }: Signal): Promise<void> {
  const { clock, log } = deps;
  const owners = new TopControllers(deps.client);
  let before: ReadonlySet<string> = new Set();
  for (let restMs = lookEveryMs; !signal.aborted; ) {
    await clock.sleep(restMs, { signal }).catch(() => {});
    if (signal.aborted) return;
    try {
      const startMs = clock.monotonicMs();
      const missing = await look(deps, options, { signal });
      restMs = Math.max(lookEveryMs, (clock.monotonicMs() - startMs) * restPerList);
      for (const [key, names] of missing) {
        if (before.has(key)) await restore(deps, { key, names, owners }, { signal });
      }
      before = new Set(missing.keys());
    } catch (err) {
      if (!signal.aborted)
        log.warn({ err: formatError(err) }, "missing SpiderEndpoints were not made; it is tried again");
    }
  }
}

/** The keys of endpoints that should be there and are not, with the names of their claims; first those that next Pods need. */
async function look(
  { client }: Deps,
  { claims, pod }: MissingOptions,
  o: Signal,
): Promise<ReadonlyMap<string, readonly string[]>> {
  if (!claims.isSynced) return new Map();
  const there = new Set<string>();
  for await (const { metadata } of client.forViews().listAll(metadataOf(spiderEndpoints), o))
    there.add(keyOf(metadata));
  const [kept, shown] = [new Map<string, string[]>(), new Map<string, string[]>()];
  for (const [at, { metadata, spec }] of claims.list().entries()) {
    // There may be 300,000, and admission is to be answered meanwhile.
    if (at % lookedAtOnce === lookedAtOnce - 1) await setImmediate();
    const { podNamespace: namespace = "", podName: name = "" } = spec;
    const isKept = spec.purpose === "Sticky";
    if (!isKept && (!isHeld({ spec }) || pod(`${namespace}/${name}`) === undefined)) continue;
    const key = keyOfEndpoint({ spec });
    const missing = isKept ? kept : shown;
    const names = missing.get(key) ?? [];
    if (there.has(key) || (names.length === 0 && missing.size >= madeMax)) continue;
    names.push(metadata.name);
    missing.set(key, names);
  }
  return new Map([...kept, ...shown].slice(0, madeMax));
}

interface Missing {
  readonly key: string;
  /** Of claims. */
  readonly names: readonly string[];
  readonly owners: TopControllers;
}

/** Makes one endpoint by what the API server itself says of its claims and its Pod. */
async function restore({ client, clock, log }: Deps, { key, names, owners }: Missing, o: Signal): Promise<void> {
  const claims: Claim[] = [];
  for (const name of names) {
    const object = await client.get(spiderIPAddresses, { name }, o);
    const claim = object && claimOf(object);
    if (claim !== undefined && isHeld(claim) && keyOfEndpoint(claim) === key) claims.push(claim);
  }
  const shown = claims.filter((claim) => !isSuperseded(claim, claims));
  const last = shown.find(({ spec }) => spec.node !== undefined) ?? shown[0];
  if (last === undefined) return;
  const { podNamespace: namespace = "", podName = "", podUID = "", node = "", purpose, since } = last.spec;
  const pod = await client.get(pods, { namespace, name: podName }, o);
  const isAlive = pod !== undefined && isPodUid(pod, podUID) && isPodAlive(pod);
  if (purpose !== "Sticky" && (!isAlive || clock.wall().getTime() - Date.parse(since ?? "") < shownMsMax)) return;
  const isKept = purpose === "Sticky";
  const endpoint = endpointDraft({
    name: endpointOf(last),
    pod: { namespace, name: podName, uid: podUID },
    node,
    ips: endpointNics(shown, routesAskedBy(pod?.metadata.annotations ?? {})),
    owner: isKept ? keptBy(last) : pod && (await owners.of(pod, o)),
    isKept,
  });
  try {
    await client.create(spiderEndpoints, endpoint, o);
  } catch (error) {
    if (hasReason(error, "AlreadyExists")) return;
    throw error;
  }
  log.info({ endpoint: key, claims: shown.map(({ name }) => name) }, "a SpiderEndpoint was missing and is made again");
  // Nothing would remove it if its addresses were released meanwhile.
  if (purpose !== "Sticky" || (await client.get(spiderIPAddresses, { name: last.name }, o)) !== undefined) return;
  await removeEndpoint(
    client,
    { metadata: { name: last.name, uid: last.uid, resourceVersion: "" }, spec: last.spec },
    o,
  );
}

function keyOfEndpoint({ spec }: Pick<Claim, "spec">): string {
  return keyOf({ namespace: spec.podNamespace ?? "", name: endpointOf({ spec }) });
}

/** Whether a sandbox has another address for the NIC of a kept one. */
function isSuperseded(claim: Claim, all: readonly Claim[]): boolean {
  if (claim.spec.node !== undefined) return false;
  return all.some(
    ({ spec, ip }) => spec.node !== undefined && spec.nic === claim.spec.nic && ip.family === claim.ip.family,
  );
}

/** The owner of a kept address. */
function keptBy({ spec }: Claim): { readonly kind: string; readonly name: string } | undefined {
  const owner = parseOwner(spec.owner ?? "");
  return owner && { kind: owner.type.split("/").at(-1) ?? "", name: owner.name };
}
