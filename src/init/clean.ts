import { randomUUID } from "node:crypto";
import { annotations, apiGroup, lostToken, networkAttachmentDefinitions } from "#api";
import type { Signal } from "#base";
import {
  deployments,
  jobs,
  type KubeObject,
  keyOf,
  leases,
  mutatingWebhooks,
  nodes,
  type ObjectRef,
  type Resource,
  validatingWebhooks,
} from "#kube";
import { removeKinds } from "./clean-kinds.ts";
import { assertRemoval, assertUnused, holders } from "./clean-refusals.ts";
import type { Deps } from "./deps.ts";
import { leaveNodes } from "./nodes.ts";
import { all, erase } from "./objects.ts";
import type { CleanOptions } from "./options.ts";
import { unlessGone, untilItWorks } from "./retry.ts";

const webhookKinds: readonly Resource<KubeObject>[] = [validatingWebhooks, mutatingWebhooks];

/** The label of everything that the release made: its name. */
const instance = "app.kubernetes.io/instance";

const lookMs = 500;

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
  const of = { namespace, name: controller };
  const deployment = await untilItWorks(deps, (call) => deps.client.get(deployments, of, call), o);
  if (deployment === undefined) return;
  const { name, uid } = deployment.metadata;
  const body = { metadata: { ownerReferences: [{ apiVersion: "apps/v1", kind: "Deployment", name, uid }] } };
  const ref = { namespace, name: leaseName };
  if (await unlessGone((call) => deps.client.patch(leases, ref, { kind: "merge", body }, call), deps, o))
    deps.say(`Lease ${namespace}/${leaseName}: goes with the Deployment`);
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
  for (let clean = 0; clean < 2; await deps.clock.sleep(lookMs, o)) {
    const ours = (await all(networkAttachmentDefinitions, deps, o)).filter(
      ({ metadata: { ownerReferences = [], labels = {} }, spec }) =>
        ownerReferences.some(({ apiVersion }) => apiVersion.startsWith(`${apiGroup}/`)) ||
        (labels[instance] === release && (spec?.config ?? "") === ""),
    );
    for (const network of ours) await erase(networkAttachmentDefinitions, network, deps, o);
    clean = ours.length === 0 ? clean + 1 : 0;
  }
}
