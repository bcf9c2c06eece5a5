import { type SpiderIPAddress, spiderIPAddresses } from "#api";
import { type Signal, SpiderError } from "#base";
import { deployments, isPodUid, jobs, type KubeObject, keyOf, metadataOf, pods, type Resource } from "#kube";
import type { Deps } from "./deps.ts";
import { all } from "./objects.ts";
import type { CleanOptions } from "./options.ts";
import { untilItWorks } from "./retry.ts";

/** How long to wait for terminating Pods. */
const leavingMsMax = 60_000;
const stepMs = 1_000;
/** How many names a refusal lists. */
const namedMax = 10;

/** kubectl adds this annotation to every object that it applies. */
const applied = "kubectl.kubernetes.io/last-applied-configuration";

/**
 * With `helm template | kubectl apply` the hook's Job is an ordinary Job, which must not wipe the installation that it came with.
 * Throws CLEAN_REFUSED unless Helm installed the release and kubectl did not apply this Job.
 */
export async function assertRemoval(
  { namespace, controller, release, hookJob }: CleanOptions,
  deps: Deps,
  o: Signal,
): Promise<void> {
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

/** Throws CLEAN_REFUSED while Pods have addresses. Those that terminate are waited for. */
export async function assertUnused(deps: Deps, o: Signal): Promise<void> {
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
export async function holders(deps: Deps, o: Signal) {
  const claims = await all<SpiderIPAddress>(spiderIPAddresses, deps, o);
  const live = new Map((await all(metadataOf(pods), deps, o)).map(({ metadata }) => [keyOf(metadata), metadata]));
  const staying: Held[] = [];
  const leaving: Held[] = [];
  for (const { spec } of claims) {
    const pod = live.get(keyOf({ namespace: spec.podNamespace, name: spec.podName ?? "" }));
    // A static Pod's claim has the UID that its node gave it, which is not that of its mirror.
    if (pod === undefined || spec.podUID === undefined || !isPodUid({ metadata: pod }, spec.podUID)) continue;
    (pod.deletionTimestamp === undefined ? staying : leaving).push({
      pod: keyOf(pod),
      address: spec.address,
      node: spec.node,
    });
  }
  return { staying, leaving };
}
