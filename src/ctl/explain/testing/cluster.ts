import { annotations, networkAttachmentDefinitions, type SpiderIPPool, spiderIPAddresses, spiderIPPools } from "#api";
import { configMaps, namespaces, nodes, pods } from "#kube";
import { FakeApi } from "../../../kube/testing/fake-api.ts";
import { runCtl } from "../../testing/run.ts";

/** The configuration of a network on Open vSwitch. */
export const ovs = '{"cniVersion":"0.3.1","type":"ovs","bridge":"br1","ipam":{"type":"spiderpool"}}';

/** The annotation of a Pod that names pools. */
export const ippool = (value: unknown) => ({ [annotations.ippool]: JSON.stringify(value) });

/**
 * What a test of `explain` asks about: an API server with the ready nodes node1 and node2, the default network
 * kube-system/net on Open vSwitch, and IPPool a with the addresses 10.6.0.10 and 10.6.0.11.
 */
export class TestCluster {
  readonly api = new FakeApi();

  constructor() {
    this.setDefaultNetwork("net");
    this.network("net");
    this.api.apply(namespaces, { metadata: { name: "default" } });
    for (const name of ["node1", "node2"]) {
      const status = { conditions: [{ type: "Ready", status: "True" }] };
      this.api.apply(nodes, { metadata: { name, labels: { "kubernetes.io/hostname": name } }, status });
    }
    this.pool("a", "10.6.0");
  }

  /** Names the default network in the release's configuration. */
  setDefaultNetwork(clusterNetwork: string): void {
    const labels = { "app.kubernetes.io/component": "spiderpool" };
    const data = { clusterNetwork, "conf.yml": "enableIPv6: false" };
    this.api.apply(configMaps, { metadata: { namespace: "kube-system", name: "c", labels }, data });
  }

  network(name: string, config = ovs): void {
    this.api.apply(networkAttachmentDefinitions, { metadata: { namespace: "kube-system", name }, spec: { config } });
  }

  /** A pool of two addresses, `<prefix>.10` and `.11`, unless `spec` says otherwise. */
  pool(name: string, prefix: string, spec: Partial<SpiderIPPool["spec"]> = {}): void {
    const subnet = { subnet: `${prefix}.0/24`, ips: [`${prefix}.10-${prefix}.11`] };
    this.api.apply(spiderIPPools, { metadata: { name }, spec: { ...subnet, ...spec } });
  }

  /** The claim of Pod default/`podName` to an address for its eth0. */
  claim(address: string, pool: string, podName: string, more: object = {}): void {
    const pod = { podNamespace: "default", podName, podUID: `uid-${podName}`, nic: "eth0" };
    const spec = { format: 1, address, purpose: "Pod", pool, poolUID: "", poolGeneration: 1, ...pod, ...more };
    this.api.apply(spiderIPAddresses, { metadata: { name: address, labels: { pool } }, spec });
  }

  /** Pod default/`name`, on node1 unless `spec` says otherwise. */
  pod(name: string, annotations: Readonly<Record<string, string>>, more: { spec?: object; status?: object } = {}) {
    const { spec = { nodeName: "node1" }, status = {} } = more;
    return this.api.apply(pods, { metadata: { namespace: "default", name, annotations }, spec, status });
  }

  /** Runs `spiderpoolctl explain`. */
  explain(...argv: readonly string[]) {
    return runCtl(this.api, ["explain", ...argv]);
  }

  /** Runs `spiderpoolctl explain -f` about a manifest. */
  explainFile(manifest: string, ...argv: readonly string[]) {
    return runCtl(this.api, ["explain", "-f", "x.yaml", ...argv], { "x.yaml": manifest });
  }
}
