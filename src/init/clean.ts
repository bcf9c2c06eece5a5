import { randomUUID } from "node:crypto";
import {
  annotations,
  apiGroup,
  lostToken,
  networkAttachmentDefinitions,
  type SpiderIPAddress,
  spiderIPAddresses,
} from "#api";
import { type Signal, SpiderError } from "#base";
import {
  ApiStatusError,
  type CustomResourceDefinition,
  customResourceDefinitions,
  deployments,
  hasReason,
  jobs,
  type KubeObject,
  keyOf,
  leases,
  metadataOf,
  mutatingWebhooks,
  nodes,
  type ObjectRef,
  pods,
  type Resource,
  validatingWebhooks,
} from "#kube";
import type { Deps } from "./deps.ts";
import { leaveNodes } from "./nodes.ts";
import type { InitOptions } from "./options.ts";
import { unlessGone, untilItWorks } from "./retry.ts";

type CleanOptions = Extract<InitOptions, { readonly command: "clean" }>;

const webhookKinds: readonly Resource<KubeObject>[] = [validatingWebhooks, mutatingWebhooks];

/** The label of everything that the release made: its name. */
const instance = "app.kubernetes.io/instance";

/** How long to wait for terminating Pods. */
const leavingMsMax = 60_000;
const stepMs = 1_000;
/** How many names a refusal lists. */
const namedMax = 10;

/**
 * Removes what Helm would leave behind: webhook configurations, networks rendered from SpiderMultusConfigs, all objects of our
 * kinds, the kinds, and Jobs. Reports each, and deletes nothing of others. Throws CLEAN_REFUSED before it deletes anything if
 * the release is not being removed, or if Pods have addresses.
 */
export async function clean(options: CleanOptions, deps: Deps, o: Signal): Promise<void> {
  if (!options.yes) await assertRemoval(options, deps, o);
  if (options.force) await noteLoss(deps, o);
  else await assertUnused(deps, o);
  for (const resource of webhookKinds) await remove(resource, { name: options.controller }, options, deps, o);
  await removeKinds(deps, o);
  await removeNetworks(options, deps, o);
  const { namespace } = options;
  for (const name of options.jobs) await remove(jobs, { namespace, name }, options, deps, o);
  await handLease(options, deps, o);
  await leaveNodes({ namespace, name: options.agents }, deps, o);
}

/** The Lease of the controller's leader election, which the replicas create themselves. */
const leaseName = "spiderpool-controller-leases";

/**
 * Marks the Nodes whose Pods go on using addresses that no ledger has any more. The next installation, in any namespace, then
 * keeps pools closed until agents have reported the addresses of their sandboxes.
 */
async function noteLoss(deps: Deps, o: Signal): Promise<void> {
  const { staying, leaving } = await holders(deps, o);
  const held = Map.groupBy([...staying, ...leaving], ({ node }) => node);
  const body = { metadata: { annotations: { [annotations.ledgerClosed]: lostToken(randomUUID()) } } };
  for (const [name, { length }] of held) {
    if (name === undefined) continue;
    const patch = (call: Signal) =>
      deps.client.patch(nodes, { name }, { kind: "merge", body }, { ...call, subresource: "status" });
    if (await unlessGone(patch, deps, o))
      deps.say(`Node ${name}: says that ${length} addresses are held by Pods, for the next installation`);
  }
}

/** The last controller, which ends after us, holds the Lease: makes the Deployment its owner, so that both go together. */
async function handLease({ namespace, controller }: CleanOptions, deps: Deps, o: Signal): Promise<void> {
  const deployment = await deps.client.get(deployments, { namespace, name: controller }, o);
  if (deployment === undefined) return;
  const { name, uid } = deployment.metadata;
  const body = { metadata: { ownerReferences: [{ apiVersion: "apps/v1", kind: "Deployment", name, uid }] } };
  const ref = { namespace, name: leaseName };
  if (await unlessGone((call) => deps.client.patch(leases, ref, { kind: "merge", body }, call), deps, o))
    deps.say(`Lease ${namespace}/${leaseName}: goes with the Deployment`);
}

/** kubectl adds this annotation to every object that it applies. */
const applied = "kubectl.kubernetes.io/last-applied-configuration";

/**
 * With `helm template | kubectl apply` the hook's Job is an ordinary Job, which must not wipe the installation that it came with.
 * So checks that Helm installed the release, and that kubectl did not apply this Job.
 */
async function assertRemoval({ namespace, controller, release, hookJob }: CleanOptions, deps: Deps, o: Signal) {
  const read = <T extends KubeObject>(resource: Resource<T>, name: string) =>
    untilItWorks(deps, (call) => deps.client.get(resource, { namespace, name }, call), o);
  const deployment = await read(deployments, controller);
  const owner = deployment?.metadata.annotations?.["meta.helm.sh/release-name"];
  const job = hookJob === undefined ? undefined : await read(jobs, hookJob);
  const byHand = job?.metadata.annotations?.[applied] !== undefined;
  if (owner === release && !byHand) return;
  const why = byHand
    ? "its Job was applied by kubectl"
    : `Deployment ${namespace}/${controller} ${deployment === undefined ? "is not there" : `belongs to Helm release ${JSON.stringify(owner ?? "")}`}`;
  throw new SpiderError(
    "CLEAN_REFUSED",
    `nothing was deleted: this is not Helm's removal of release ${release}, as ${why}; run "clean" with --yes if you mean it`,
  );
}

/** After a refused removal `helm upgrade` no longer finds the release. */
const remedies = [
  "delete these Pods and repeat",
  "or keep pools and addresses for another installation: helm uninstall --no-hooks",
  "or give them up: helm rollback to the present revision, helm upgrade with --reuse-values and --set spiderpoolController.cleanup.force=true, and repeat",
].join("; ");

async function assertUnused(deps: Deps, o: Signal): Promise<void> {
  const until = deps.clock.monotonicMs() + leavingMsMax;
  for (;;) {
    const { staying, leaving } = await holders(deps, o);
    if (staying.length === 0 && (leaving.length === 0 || deps.clock.monotonicMs() > until)) return;
    if (staying.length > 0) {
      const names = named(staying);
      throw new SpiderError(
        "CLEAN_REFUSED",
        `nothing was deleted: ${staying.length} addresses are held by Pods, which would keep them while nobody knows: ${names}${staying.length > namedMax ? " …" : ""}; ${remedies}`,
      );
    }
    deps.say(`waiting for ${leaving.length} Pods that are terminating: ${named(leaving)}`);
    await deps.clock.sleep(stepMs, o);
  }
}

/** An address and the Pod that has it. */
interface Held {
  /** `namespace/name` */
  readonly pod: string;
  readonly address: string;
  readonly node: string | undefined;
}

function named(held: readonly Held[]): string {
  const names = held.slice(0, namedMax).map(({ address, pod }) => `${address} (${pod})`);
  return names.join(", ");
}

/** The claims whose Pods exist. */
async function holders(deps: Deps, o: Signal) {
  const claims = await all<SpiderIPAddress>(spiderIPAddresses, deps, o);
  const live = new Map((await all(metadataOf(pods), deps, o)).map(({ metadata }) => [metadata.uid, metadata]));
  const staying: Held[] = [];
  const leaving: Held[] = [];
  for (const { spec } of claims) {
    const pod = spec.podUID === undefined ? undefined : live.get(spec.podUID);
    if (pod === undefined) continue;
    (pod.deletionTimestamp === undefined ? staying : leaving).push({
      pod: keyOf(pod),
      address: spec.address,
      node: spec.node,
    });
  }
  return { staying, leaving };
}

/** Every object of a kind; none if the kind is not served. */
async function all<T extends KubeObject>(resource: Resource<T>, deps: Deps, o: Signal): Promise<readonly T[]> {
  return untilItWorks(
    deps,
    async (call) => {
      try {
        const found: T[] = [];
        for await (const object of deps.client.listAll(resource, call)) found.push(object);
        return found;
      } catch (error) {
        if (error instanceof ApiStatusError && error.status === 404) return [];
        throw error;
      }
    },
    o,
  );
}

/** Deletes an object of this release, but not one with another release's label. */
async function remove(
  resource: Resource<KubeObject>,
  ref: ObjectRef,
  { release }: CleanOptions,
  deps: Deps,
  o: Signal,
): Promise<void> {
  const found = await untilItWorks(deps, (call) => deps.client.get(resource, ref, call), o);
  if (found === undefined) return;
  const title = `${resource.kind} ${keyOf(ref)}`;
  if (found.metadata.labels?.[instance] !== release) return deps.say(`${title}: not ours, stays`);
  await erase(resource, found, deps, o);
}

/**
 * Removes networks rendered from SpiderMultusConfigs, and the default network if it is still empty: once their kind is gone, the
 * garbage collector does not notice that owners are. Repeats until it has found none twice in a row, because the controller still
 * runs and renders a network again as long as it knows the owner.
 */
async function removeNetworks({ release }: CleanOptions, deps: Deps, o: Signal): Promise<void> {
  for (let clean = 0; clean < 2; await deps.clock.sleep(stepMs / 2, o)) {
    const ours = (await all(networkAttachmentDefinitions, deps, o)).filter(
      ({ metadata: { ownerReferences = [], labels = {} }, spec }) =>
        ownerReferences.some(({ apiVersion }) => apiVersion.startsWith(`${apiGroup}/`)) ||
        (labels[instance] === release && (spec?.config ?? "") === ""),
    );
    for (const network of ours) await erase(networkAttachmentDefinitions, network, deps, o);
    clean = ours.length === 0 ? clean + 1 : 0;
  }
}

/**
 * Deletes the kinds first, because nobody can create objects of a terminating kind, which the controller, still running, would.
 * Then removes the objects' finalizers, because nobody else will.
 */
async function removeKinds(deps: Deps, o: Signal): Promise<void> {
  const ours = (await all(customResourceDefinitions, deps, o)).filter(({ spec }) => spec.group === apiGroup);
  for (const crd of ours) {
    for (const object of await all(resourceOf(crd), deps, o)) {
      deps.say(`${crd.spec.names.kind} ${keyOf(object.metadata)}: deleted with its kind`);
    }
    await erase(customResourceDefinitions, crd, deps, o);
  }
  for (const crd of ours) {
    for (let look = 1; ; look += 1) {
      const found = await untilItWorks(
        deps,
        (call) => deps.client.get(customResourceDefinitions, crd.metadata, call),
        o,
      );
      if (found === undefined) break;
      await release(resourceOf(crd), deps, o);
      if (look % looksToTouch === 0) await touch(found, look, deps, o);
      await deps.clock.sleep(stepMs / 5, o);
    }
  }
}

const looksToTouch = 10;

/**
 * Changes the kind, to wake an API server that could not list its objects (`storage is (re)initializing`): it may otherwise
 * continue the deletion only minutes later, at its next full resync.
 */
async function touch({ metadata }: CustomResourceDefinition, look: number, { client }: Deps, o: Signal): Promise<void> {
  const body = { metadata: { annotations: { [`${apiGroup}/removal`]: `look ${look}` } } };
  await client.patch(customResourceDefinitions, metadata, { kind: "merge", body }, o).catch((error: unknown) => {
    if (!hasReason(error, "NotFound")) throw error;
  });
}

function resourceOf({ spec: { group, names, scope, versions } }: CustomResourceDefinition): Resource<KubeObject> {
  const stored = versions.find((version) => version["storage"] === true) ?? versions[0];
  const version = stored?.name ?? "";
  const resource = { group, version, plural: names.plural, kind: names.kind, namespaced: scope === "Namespaced" };
  return metadataOf(resource);
}

/** Removes the finalizers of all objects. */
async function release(resource: Resource<KubeObject>, deps: Deps, o: Signal): Promise<void> {
  for (const { metadata } of await all(resource, deps, o)) {
    if ((metadata.finalizers ?? []).length === 0) continue;
    const patch = { kind: "merge", body: { metadata: { finalizers: null } } } as const;
    await deps.client.patch(resource, metadata, patch, o).catch((error: unknown) => {
      // Deleted meanwhile, or the controller wrote it: the next round sees it.
      if (!(error instanceof ApiStatusError && [404, 409].includes(error.status))) throw error;
    });
  }
}

async function erase(resource: Resource<KubeObject>, { metadata }: KubeObject, deps: Deps, o: Signal): Promise<void> {
  const { uid } = metadata;
  await untilItWorks(
    deps,
    (call) =>
      deps.client
        .delete(resource, metadata, { ...call, preconditions: { uid }, propagationPolicy: "Background" })
        .catch((error: unknown) => {
          if (!hasReason(error, "NotFound", "Conflict")) throw error; // Deleted, or created again by somebody.
        }),
    o,
  );
  deps.say(`${resource.kind} ${keyOf(metadata)}: deleted`);
}
