import {
  annotations,
  finalizer,
  parseControlledIPPools,
  type SpiderSubnet,
  spiderIPAddresses,
  spiderIPPools,
  spiderSubnets,
} from "#api";
import { never } from "#base";
import { deployments } from "#kube";
import type { TestCluster } from "../cluster.ts";
import type { Scenario } from "./scenario.ts";

const deployment = { namespace: "default", name: "web" };

function applySubnet({ api }: TestCluster): void {
  api.apply<SpiderSubnet>(spiderSubnets, {
    metadata: { name: "s", finalizers: [finalizer] },
    spec: { ipVersion: 4, subnet: "10.6.0.0/16", ips: ["10.6.0.10-10.6.0.19"], gateway: "10.6.0.1" },
  });
}

/** The application has a pool of the subnet, with as many addresses as it has replicas. */
function scale({ api }: TestCluster, replicas: number): void {
  const wishes = { [annotations.subnet]: '{"ipv4":["s"]}', [annotations.poolIpNumber]: "+0" };
  const template = { metadata: { annotations: wishes }, spec: {} };
  api.apply(deployments, { metadata: deployment, spec: { replicas, template } });
}

function subnetWithApplication(replicas: number): (cluster: TestCluster) => void {
  return (cluster) => {
    applySubnet(cluster);
    scale(cluster, replicas);
  };
}

/** Who has the subnet's addresses: by the pools, by the subnet's status, and by holds. */
function parts({ api }: TestCluster) {
  const { controlledIPPools } = api.read(spiderSubnets, { name: "s" })?.status ?? {};
  return {
    pools: api.all(spiderIPPools).map(({ spec }) => spec.ips),
    told: Object.values(parseControlledIPPools(controlledIPPools) ?? {}).map(({ ips }) => ips),
    held: api.all(spiderIPAddresses).filter(({ spec }) => spec.purpose === "Hold").length,
    subnets: api.all(spiderSubnets).length,
  };
}

export const subnetScenarios: readonly Scenario[] = [
  {
    reconcile: "subnet-parts",
    does: "makes the pool of an application",
    setUp: applySubnet,
    trigger: (cluster) => scale(cluster, 3),
    takesMs: 10_000,
    result: parts,
  },
  {
    reconcile: "subnet-parts",
    does: "makes it smaller, by holds",
    setUp: subnetWithApplication(4),
    trigger: (cluster) => scale(cluster, 2),
    takesMs: 10_000,
    result: parts,
  },
  {
    reconcile: "subnet-parts",
    does: "makes it larger",
    setUp: subnetWithApplication(2),
    trigger: (cluster) => scale(cluster, 4),
    takesMs: 10_000,
    result: parts,
  },
  {
    reconcile: "subnet-parts",
    does: "takes it back when the application is gone",
    setUp: subnetWithApplication(2),
    trigger: ({ api }) => api.remove(deployments, deployment),
    takesMs: 180_000,
    result: parts,
  },
  {
    reconcile: "subnet-drain",
    does: "lets a deleted subnet go, after its pools",
    setUp: subnetWithApplication(2),
    trigger: ({ api, client }) => {
      api.remove(deployments, deployment);
      void client.delete(spiderSubnets, { name: "s" }, { signal: never });
    },
    takesMs: 200_000,
    result: parts,
  },
];
