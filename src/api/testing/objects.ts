import type { ObjectMeta } from "#kube";
import type { SpiderIPPool, SpiderIPPoolSpec } from "../ippool/types.ts";
import type { SpiderMultusConfig, SpiderMultusConfigSpec } from "../multusconfig/types.ts";
import type { SpiderSubnet, SpiderSubnetSpec } from "../subnet/types.ts";

/** Metadata as the server stores it. */
export function meta(name: string, more: Partial<ObjectMeta> = {}): ObjectMeta {
  return { name, uid: `uid-of-${name}`, resourceVersion: "1", ...more };
}

/** A valid pool of 172.18.0.0/16, changed as given. */
export function pool(spec: Partial<SpiderIPPoolSpec> = {}, more: Partial<ObjectMeta> = {}): SpiderIPPool {
  return {
    metadata: meta("ippool-test", more),
    spec: {
      ipVersion: 4,
      subnet: "172.18.0.0/16",
      ips: ["172.18.30.131-172.18.30.140"],
      gateway: "172.18.0.1",
      ...spec,
    },
  };
}

/** A valid subnet of 172.18.0.0/16, changed as given. */
export function subnet(spec: Partial<SpiderSubnetSpec> = {}, more: Partial<ObjectMeta> = {}): SpiderSubnet {
  return {
    metadata: meta("subnet-test", more),
    spec: { ipVersion: 4, subnet: "172.18.0.0/16", ips: ["172.18.30.1-172.18.30.254"], ...spec },
  };
}

export function multusConfig(spec: SpiderMultusConfigSpec, more: Partial<ObjectMeta> = {}): SpiderMultusConfig {
  return { metadata: meta("ovs-conf", { namespace: "kube-system", ...more }), spec };
}
