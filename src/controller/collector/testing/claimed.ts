import type { SpiderIPAddressSpec } from "#api";
import { events, pods } from "#kube";
import { options, TestCluster } from "../../testing/cluster.ts";

export const ip = "172.18.30.131";
/** Options in which the given parts of the policy differ from the defaults. */
export const collection = (changes: Partial<(typeof options)["collection"]["policy"]>) => ({
  collection: { ...options.collection, policy: { ...options.collection.policy, ...changes } },
});

/** A leader, a pool, node n1 with its agent, and a claim there. */
export async function claimed(
  world: {
    readonly pod?: Parameters<TestCluster["pod"]>[1] | "none";
    readonly claim?: Partial<SpiderIPAddressSpec>;
    /** Makes what the claim must name. */
    readonly before?: (cluster: TestCluster) => Partial<SpiderIPAddressSpec>;
    readonly options?: Parameters<TestCluster["start"]>[0];
    readonly more?: Parameters<TestCluster["start"]>[1];
  } = {},
) {
  const cluster = new TestCluster();
  const pool = cluster.pool("p");
  cluster.node("n1");
  cluster.node("n2");
  const pod = world.pod === "none" ? undefined : cluster.pod(`pod-${ip}`, world.pod);
  const podUID = pod?.metadata.uid ?? "uid-gone";
  const claim = cluster.claim(ip, pool, "n1", { podUID, ...world.claim, ...world.before?.(cluster) });
  await cluster.start(world.options, world.more);
  const removePod = (): void => cluster.api.remove(pods, { namespace: "default", name: `pod-${ip}` });
  const purpose = () => cluster.read(ip)?.spec.purpose;
  return { cluster, pool, claim, removePod, purpose };
}

/** `reason: message` of all Events about objects of the kind. */
export const reasons = ({ api }: TestCluster, kind = "SpiderIPAddress") =>
  api
    .all(events)
    .filter(({ involvedObject }) => involvedObject.kind === kind)
    .map(({ reason, message }) => `${reason}: ${message}`);
export const sticky = (more: Partial<SpiderIPAddressSpec> = {}): Partial<SpiderIPAddressSpec> => ({
  purpose: "Sticky",
  podName: "web-0",
  podUID: "uid-web-0",
  owner: "apps/v1/StatefulSet/default/web",
  ...more,
});
/** A detached sticky claim: without the fields of an attachment. */
export const detached = {
  ...sticky(),
  node: undefined,
  containerID: undefined,
} as unknown as Partial<SpiderIPAddressSpec>;
