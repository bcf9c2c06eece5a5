import { spiderEndpoints } from "#api";
import { stickyOwnerOf } from "#ledger";
import { quarantineEnd } from "../addresses/ipam.ts";
import type { Calls } from "../calls/calls.ts";
import { clusterConfigOf } from "../cluster/cluster-config.ts";
import type { IpamApiOptions } from "../http/ipam-api.ts";
import type { Addresses } from "./addresses.ts";
import type { Context } from "./context.ts";

/** What the HTTP API does for third-party plugins. */
export function createIpamApi(
  context: Context,
  { ledger, endpoints }: Pick<Addresses, "ledger" | "endpoints">,
  calls: Calls,
): IpamApiOptions {
  const { options, log, clock, settings, cluster } = context;
  const { client, podStore } = cluster;
  return {
    perform: (request, o) => calls.perform(request, o),
    claimsOf: ({ namespace, name, uid }) =>
      ledger.claimsOf(uid || (podStore.get(`${namespace}/${name}`)?.metadata.uid ?? "")),
    release: (claim, why) => ledger.release(claim, { why, evidence: [] }),
    quarantine: (claim, o) => ledger.quarantine(claim, { until: quarantineEnd(clock) }, o),
    withdraw: (pod, claims, o) => endpoints.withdraw(pod, claims, o),
    podOf: (namespace, name) => podStore.get(`${namespace}/${name}`),
    endpointOf: (namespace, name, o) => {
      const pod = podStore.get(`${namespace}/${name}`);
      const sticky = pod && stickyOwnerOf(pod, settings);
      return client.get(spiderEndpoints, { namespace, name: sticky?.endpoint ?? name }, o);
    },
    isSticky: (pod) => stickyOwnerOf(pod, settings) !== undefined,
    coordinatorConfig: ({ namespace, name }, o) => clusterConfigOf(cluster, { pod: { namespace, name, uid: "" } }, o),
    settings,
    mayGiveBack: options.releaseConflictIps,
    log,
  };
}
