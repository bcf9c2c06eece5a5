import {
  annotations,
  networkAttachmentDefinitions,
  type SpiderMultusConfig,
  spiderCoordinators,
  spiderMultusConfigs,
} from "#api";
import { never } from "#base";
import { configMaps } from "#kube";
import type { Scenario } from "./scenario.ts";

const config = {
  metadata: { namespace: "kube-system", name: "main", annotations: {} },
  spec: { cniType: "ovs", ovs: { bridge: "br1" } },
} as const;

export const networkScenarios: readonly Scenario[] = [
  {
    reconcile: "multus-config",
    does: "renders a network again under another name",
    setUp: ({ api }) => void api.apply<SpiderMultusConfig>(spiderMultusConfigs, config),
    trigger: ({ api }) => {
      const metadata = { ...config.metadata, annotations: { [annotations.networkName]: "other" } };
      api.apply<SpiderMultusConfig>(spiderMultusConfigs, { ...config, metadata });
    },
    takesMs: 10_000,
    result: ({ api }) => api.all(networkAttachmentDefinitions).map(({ metadata, spec }) => [metadata.name, spec]),
  },
  {
    reconcile: "default-network",
    does: "makes the network that Pods without a wish get",
    options: { clusterNetwork: "kube-system/main" },
    trigger: ({ api }) => api.remove(networkAttachmentDefinitions, { namespace: "kube-system", name: "main" }),
    takesMs: 10_000,
    result: ({ api }) => api.all(networkAttachmentDefinitions).map(({ metadata }) => metadata.name),
    restores: true,
  },
  {
    reconcile: "coordinator",
    does: "makes the default one again and tells the cluster's ranges",
    setUp: ({ api }) => {
      const networking = "networking:\n  podSubnet: 10.244.0.0/16\n  serviceSubnet: 10.96.0.0/12\n";
      api.apply(configMaps, {
        metadata: { namespace: "kube-system", name: "kubeadm-config" },
        data: { ClusterConfiguration: networking },
      });
    },
    trigger: ({ client }) => void client.delete(spiderCoordinators, { name: "default" }, { signal: never }),
    takesMs: 60_000,
    result: ({ api }) =>
      api.all(spiderCoordinators).map(({ metadata, spec, status }) => [metadata.finalizers, spec, status]),
    restores: true,
  },
];
