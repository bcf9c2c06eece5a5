import { finalizer, type SpiderEndpoint, type SpiderIPAddress, spiderEndpoints, spiderIPAddresses } from "#api";
import type { Signal } from "#base";
import { claimName, tryParsePrefix } from "#ip";
import { type KubeClient, keyOf, pods } from "#kube";
import { endpointOf } from "#ledger";
import type { Deps } from "../deps.ts";

/**
 * Removes the endpoint by which the next holder would find this sticky claim, and the finalizer that former versions added:
 * unless another address in it is still claimed. Does nothing if it does not exist.
 */
export async function removeEndpoint(
  client: KubeClient,
  { metadata, spec }: Pick<SpiderIPAddress, "metadata" | "spec">,
  o: Signal,
): Promise<void> {
  const ref = { namespace: spec.podNamespace ?? "", name: endpointOf({ spec }) };
  const endpoint = await client.get(spiderEndpoints, ref, o);
  if (endpoint === undefined) return;
  const others = namesIn(endpoint).filter((name) => name !== metadata.name);
  if (!(await isClaimed(client, endpoint, others, o))) await removeVersion(client, endpoint, o);
}

/** The names of the claims on the endpoint's addresses. */
function namesIn({ status }: SpiderEndpoint): readonly string[] {
  const texts = status.current.ips.flatMap(({ ipv4 = "", ipv6 = "" }) => [ipv4, ipv6]);
  return texts.flatMap((text) => tryParsePrefix(text)?.ip ?? []).map(claimName);
}

/** Whether one of the claims of these names is the endpoint's: by name the Pod's, or the virtual machine's. */
async function isClaimed(
  client: KubeClient,
  { metadata: { namespace, name } }: SpiderEndpoint,
  names: readonly string[],
  o: Signal,
): Promise<boolean> {
  for (const claimed of names) {
    const claim = await client.get(spiderIPAddresses, { name: claimed }, o);
    if (claim !== undefined && claim.spec.podNamespace === namespace && endpointOf(claim) === name) return true;
  }
  return false;
}

async function removeVersion(client: KubeClient, endpoint: SpiderEndpoint, o: Signal): Promise<void> {
  const { namespace, name, finalizers = [] } = endpoint.metadata;
  const others = finalizers.filter((one) => one !== finalizer);
  const free =
    others.length === finalizers.length
      ? endpoint
      : await client.update(
          spiderEndpoints,
          { ...endpoint, metadata: { ...endpoint.metadata, finalizers: others } },
          o,
        );
  // An object that was already being deleted goes as soon as it loses its finalizer.
  if (free.metadata.deletionTimestamp !== undefined) return;
  const { uid, resourceVersion } = free.metadata;
  await client.delete(spiderEndpoints, { namespace, name }, { ...o, preconditions: { uid, resourceVersion } });
}

interface OutdatedOptions {
  /** Whether the watch shows the Pod: its endpoint is not outdated then. */
  readonly hasPod: (key: string) => boolean;
  readonly intervalMs: number;
  readonly apartMs: number;
  readonly dryRun: boolean;
}

/**
 * Removes endpoints whose Pod is gone and none of whose addresses is still claimed for it (`enableCleanOutdatedEndpoint`), after
 * seeing the same version twice, `apartMs` apart. Endpoints without addresses stay.
 */
export async function runOutdatedEndpoints(deps: Deps, options: OutdatedOptions, { signal }: Signal): Promise<void> {
  const { client, clock, log } = deps;
  while (!signal.aborted) {
    try {
      const first = await outdated(client, options, { signal });
      if (first.size > 0) await clock.sleep(options.apartMs, { signal });
      const second = first.size > 0 ? await outdated(client, options, { signal }) : first;
      for (const [key, endpoint] of second) {
        if (first.get(key)?.metadata.resourceVersion !== endpoint.metadata.resourceVersion) continue;
        log.info({ endpoint: key, dryRun: options.dryRun }, "outdated endpoint: its Pod and its claims are gone");
        if (!options.dryRun) await removeVersion(client, endpoint, { signal });
      }
    } catch (err) {
      if (!signal.aborted) log.warn({ err }, "outdated endpoints were not removed; it is tried again");
    }
    await clock.sleep(options.intervalMs, { signal }).catch(() => {});
  }
}

/** Outdated endpoints by key. Reads the Pod and the claims of each from the API server. */
async function outdated(
  client: KubeClient,
  { hasPod }: Pick<OutdatedOptions, "hasPod">,
  o: Signal,
): Promise<ReadonlyMap<string, SpiderEndpoint>> {
  const found = new Map<string, SpiderEndpoint>();
  for await (const endpoint of client.listAll(spiderEndpoints, o)) {
    if (hasPod(keyOf(endpoint.metadata))) continue;
    if (await isOutdated(client, endpoint, o)) found.set(keyOf(endpoint.metadata), endpoint);
  }
  return found;
}

async function isOutdated(client: KubeClient, endpoint: SpiderEndpoint, o: Signal): Promise<boolean> {
  const names = namesIn(endpoint);
  if (names.length === 0) return false;
  const { namespace, name } = endpoint.metadata;
  if ((await client.get(pods, { namespace, name }, o)) !== undefined) return false;
  return !(await isClaimed(client, endpoint, names, o));
}
