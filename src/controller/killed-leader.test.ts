// Kills the leader before and after every write of every reconcile; the next leader must reach the same result as without
// the kill. For late writes of a paused leader see collector/failover.test.ts.
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import {
  annotations,
  finalizer,
  networkAttachmentDefinitions,
  parseControlledIPPools,
  type SpiderIPPool,
  type SpiderMultusConfig,
  type SpiderSubnet,
  spiderCoordinators,
  spiderEndpoints,
  spiderIPAddresses,
  spiderIPPools,
  spiderMultusConfigs,
  spiderPoolUsages,
  spiderSubnets,
  takeOverToken,
} from "#api";
import { abortable, never, type Signal } from "#base";
import {
  type ApiRequest,
  configMaps,
  customResourceDefinitions,
  deployments,
  leases,
  mutatingWebhooks,
  nodes,
  pods,
  secrets,
  statefulSets,
  type Transport,
  validatingWebhooks,
} from "#kube";
import { until } from "../base/testing/until.ts";
import type { ControllerProgramOptions } from "./options.ts";
import { options, TestCluster } from "./testing/cluster.ts";

const folder = fileURLToPath(new URL(".", import.meta.url));
const ip = "172.18.30.131";
/** Enough for another replica to take a Lease that nobody renews, which it does after 15 s. */
const takenMs = 20_000;
/** How many times in a scenario the other parties act. */
const looks = 10;
const isWrite = ({ method, path }: ApiRequest) =>
  method !== "GET" && !path.includes("/leases/") && !path.includes("/events");

/** A replica that dies at one of its writes: from then on its requests do not reach the server, and it gets no answers. */
class Mortal {
  /** Writes since it was armed, such as `PATCH spidersubnets`. */
  readonly writes: string[] = [];
  readonly transport: Transport;
  isArmed = false;
  isDead = false;

  constructor({ api }: TestCluster, death?: { readonly at: number; readonly when: "before" | "after" }) {
    const silence = ({ signal }: Signal) => abortable(new Promise<never>(() => {}), signal);
    const send = async (request: ApiRequest, o: Signal) => {
      if (this.isDead) return silence(o);
      const isLast = this.isArmed && isWrite(request) && this.writes.push(nameOf(request)) - 1 === death?.at;
      if (!isLast) return api.send(request, o);
      this.isDead = true;
      if (death.when === "after") await api.send(request, { signal: never });
      return silence(o);
    };
    this.transport = { server: api.server, send };
  }
}

function nameOf({ method, path }: ApiRequest): string {
  const [, plural, status = ""] = /\/([a-z-]+)(?:\/[^/?]+(\/status)?)?(?:\?.*)?$/.exec(path) ?? [];
  return `${method} ${plural}${status}`;
}

interface Scenario {
  /** Name of the controller or loop under test. */
  readonly of: string;
  readonly does: string;
  readonly options?: Partial<ControllerProgramOptions>;
  readonly conf?: string;
  /** Sets up the cluster before the leader starts. */
  readonly before?: (cluster: TestCluster) => void;
  /** Triggers the reconcile. */
  readonly act: (cluster: TestCluster) => void;
  /** What other parties do meanwhile, again and again. */
  readonly meanwhile?: (cluster: TestCluster) => void;
  /** How long it takes until it is done. */
  readonly ms: number;
  /** Where some of it does not follow the clock, such as the making of keys: whether it is done. */
  readonly isDone?: (cluster: TestCluster) => boolean;
  /** The result equals the state before `act`. */
  readonly mends?: true;
  /** Reads the result to compare. */
  readonly end: (cluster: TestCluster) => unknown;
}

/** Creates a pool, a node, a Pod and its claim. */
function held(cluster: TestCluster, spec: object = {}): void {
  const pool = cluster.pool("p");
  cluster.node("n1");
  cluster.claim(ip, pool, "n1", { podUID: cluster.pod(`pod-${ip}`).metadata.uid, ...spec });
}
function isOff(cluster: TestCluster, outOfService: boolean): void {
  cluster.node("n1", { ready: "Unknown", agent: "False", outOfService });
  cluster.api.remove(pods, { namespace: "default", name: `pod-${ip}` });
}
const purpose = (cluster: TestCluster) => {
  const { spec } = cluster.read(ip) ?? {};
  return [spec?.purpose, spec?.node, spec?.unclean];
};
const sticky = { purpose: "Sticky", owner: "apps/v1/StatefulSet/default/web" } as const;
const web = { namespace: "default", name: "web" };

function subnet({ api }: TestCluster): void {
  const spec = { ipVersion: 4, subnet: "10.6.0.0/16", ips: ["10.6.0.10-10.6.0.19"], gateway: "10.6.0.1" };
  api.apply<SpiderSubnet>(spiderSubnets, { metadata: { name: "s", finalizers: [finalizer] }, spec });
}
function application({ api }: TestCluster, replicas: number): void {
  const metadata = { annotations: { [annotations.subnet]: '{"ipv4":["s"]}', [annotations.poolIpNumber]: "+0" } };
  api.apply(deployments, { metadata: web, spec: { replicas, template: { metadata, spec: {} } } });
}
/** Who has the subnet's addresses according to pools, the subnet's status and holds. */
const parts = ({ api }: TestCluster) => {
  const { controlledIPPools } = api.read(spiderSubnets, { name: "s" })?.status ?? {};
  return {
    pools: api.all(spiderIPPools).map(({ spec }) => spec.ips),
    told: Object.values(parseControlledIPPools(controlledIPPools) ?? {}).map(({ ips }) => ips),
    held: api.all(spiderIPAddresses).filter(({ spec }) => spec.purpose === "Hold").length,
    subnets: api.all(spiderSubnets).length,
  };
};

const lease = { namespace: "kube-system", name: "spiderpool-controller-leases" };
const ledger = ({ api }: TestCluster) => ({
  closed: api.all(spiderIPPools).map(({ metadata }) => metadata.annotations?.[annotations.ledgerClosed]),
  isRecorded:
    api.read(leases, lease)?.metadata.annotations?.[annotations.ledgerEpoch] ===
    api.all(customResourceDefinitions)[0]?.metadata.uid,
});
/** Acts as the agents: once pools are closed, reports that their claims were made again. */
function tell({ api }: TestCluster): void {
  const token = api.all(spiderIPPools)[0]?.metadata.annotations?.[annotations.ledgerClosed];
  for (const node of token === undefined ? [] : api.all(nodes)) {
    if (node.metadata.annotations?.[annotations.ledgerClosed] === token) continue;
    const noted = { ...node.metadata.annotations, [annotations.ledgerClosed]: token };
    api.apply(nodes, { ...node, metadata: { ...node.metadata, annotations: noted } });
  }
}
const definition = { metadata: { name: "spideripaddresses.spiderpool.spidernet.io" } };

const config = {
  metadata: { namespace: "kube-system", name: "main", annotations: {} },
  spec: { cniType: "ovs", ovs: { bridge: "br1" } },
} as const;

const certificate: ControllerProgramOptions["tls"] = {
  ...{ kind: "secret" as const, secret: "certs", service: "controller", webhooks: "spiderpool" },
  names: ["controller.kube-system.svc"],
  lifetimeMs: 86_400_000,
};
const webhook = { name: "a", clientConfig: { service: { namespace: "kube-system", name: "controller" } } };
const bundles = ({ api }: TestCluster) =>
  [mutatingWebhooks, validatingWebhooks].flatMap((kind) =>
    api.all(kind).flatMap(({ webhooks = [] }) => webhooks.map(({ clientConfig }) => clientConfig.caBundle)),
  );
/** Of each webhook, whether it trusts the authority of the Secret. */
const trusts = (cluster: TestCluster) => {
  const { data = {} } = cluster.api.all(secrets)[0] ?? {};
  return bundles(cluster).map((one) => one !== undefined && one === data["ca.crt"]);
};

const scenarios: readonly Scenario[] = [
  {
    ...{ of: "collector", does: "releases what a node that is off for certain held", before: held, ms: 90_000 },
    ...{ act: (cluster) => isOff(cluster, true), end: purpose },
  },
  {
    ...{ of: "collector", does: "sets aside what a silent node holds", before: held, ms: 90_000 },
    ...{ act: (cluster) => isOff(cluster, false), end: purpose },
  },
  {
    ...{ of: "collector", does: "detaches a sticky address of a silent node", ms: 90_000, end: purpose },
    before: (cluster) => {
      held(cluster, sticky);
      cluster.api.apply(statefulSets, { metadata: web, spec: { replicas: 1 } });
    },
    act: (cluster) => isOff(cluster, false),
  },
  {
    ...{ of: "collector", does: "releases a sticky address whose application is gone", ms: 90_000 },
    before: (cluster) => {
      held(cluster, { ...sticky, node: undefined, containerID: undefined });
      cluster.api.apply(statefulSets, { metadata: web, spec: { replicas: 1 } });
      const metadata = { namespace: "default", name: `pod-${ip}`, finalizers: [finalizer] };
      cluster.api.apply(spiderEndpoints, { metadata, status: { current: { uid: "", node: "", ips: [] } } });
    },
    act: (cluster) => {
      cluster.api.remove(statefulSets, web);
      cluster.api.remove(pods, { namespace: "default", name: `pod-${ip}` });
    },
    end: (cluster) => [purpose(cluster), cluster.api.all(spiderEndpoints).length],
  },
  {
    ...{ of: "collector", does: "ends a quarantine", ms: 120_000, end: purpose },
    before: (cluster) => {
      const until = new Date(cluster.clock.wall().getTime() + 60_000).toISOString();
      held(cluster, {
        purpose: "Quarantine",
        node: undefined,
        containerID: undefined,
        until,
        mac: "02:00:00:00:00:01",
      });
    },
    act: () => {},
  },
  {
    ...{ of: "outdated-endpoints", mends: true, does: "removes the endpoint of a Pod that is gone", ms: 90_000 },
    conf: "enableCleanOutdatedEndpoint: true",
    options: { collection: { ...options.collection, intervalMs: 10_000 } },
    act: ({ api }) => {
      const metadata = { namespace: "default", name: "gone", finalizers: [finalizer] };
      const ips = [{ interface: "eth0", ipv4: "172.18.30.139/16", ipv4Pool: "p" }];
      api.apply(spiderEndpoints, { metadata, status: { current: { uid: "u", node: "n1", ips } } });
    },
    end: ({ api }) => api.all(spiderEndpoints).length,
  },
  {
    ...{ of: "doubts", does: "names a claim without a Pod to its node", before: held, ms: 30_000 },
    act: (cluster) => {
      cluster.claim("172.18.30.139", cluster.api.all(spiderIPPools)[0] ?? assert.fail(), "n1", { podName: "ghost" });
    },
    end: ({ api }) => api.read(nodes, { name: "n1" })?.metadata.annotations?.[annotations.doubts]?.includes("30.139"),
  },
  {
    ...{ of: "pool-status", does: "tells the records of a pool", before: held, ms: 10_000 },
    act: (cluster) => {
      const pool = cluster.api.all(spiderIPPools)[0] ?? assert.fail();
      for (const last of [135, 136]) cluster.claim(`172.18.30.${last}`, pool);
    },
    end: ({ api }) => api.all(spiderIPPools).map(({ status }) => [status?.allocatedIPCount, status?.totalIPCount]),
  },
  {
    ...{ of: "pool-usage", does: "publishes what is taken", before: held, ms: 10_000 },
    act: (cluster) => {
      const pool = cluster.api.all(spiderIPPools)[0] ?? assert.fail();
      for (const last of [135, 136]) cluster.claim(`172.18.30.${last}`, pool);
    },
    end: ({ api }) => api.all(spiderPoolUsages).map(({ spec }) => [spec.used, spec.free]),
  },
  {
    ...{ of: "pool-defaults", does: "fills in a pool that came without admission", ms: 10_000 },
    act: (cluster) => void cluster.pool("p"),
    end: ({ api }) =>
      api
        .all(spiderIPPools)
        .map(({ metadata, spec }) => [metadata.finalizers, Object.keys(metadata.labels ?? {}), spec]),
  },
  {
    ...{ of: "pool-drain", does: "lets a deleted pool go", ms: 180_000 },
    before: (cluster) => void cluster.pool("p"),
    act: ({ client }) => void client.delete(spiderIPPools, { name: "p" }, { signal: never }),
    end: ({ api }) => [api.all(spiderIPPools).length, api.all(spiderPoolUsages).length],
  },
  {
    ...{ of: "subnet-parts", does: "makes the pool of an application", before: subnet, ms: 10_000, end: parts },
    act: (cluster) => application(cluster, 3),
  },
  {
    ...{ of: "subnet-parts", does: "makes it smaller, by holds", ms: 10_000, end: parts },
    before: (cluster) => {
      subnet(cluster);
      application(cluster, 4);
    },
    act: (cluster) => application(cluster, 2),
  },
  {
    ...{ of: "subnet-parts", does: "makes it larger", ms: 10_000, end: parts },
    before: (cluster) => {
      subnet(cluster);
      application(cluster, 2);
    },
    act: (cluster) => application(cluster, 4),
  },
  {
    ...{ of: "subnet-parts", does: "takes it back when the application is gone", ms: 180_000, end: parts },
    before: (cluster) => {
      subnet(cluster);
      application(cluster, 2);
    },
    act: ({ api }) => api.remove(deployments, web),
  },
  {
    ...{ of: "subnet-drain", does: "lets a deleted subnet go, after its pools", ms: 200_000, end: parts },
    before: (cluster) => {
      subnet(cluster);
      application(cluster, 2);
    },
    act: ({ api, client }) => {
      api.remove(deployments, web);
      void client.delete(spiderSubnets, { name: "s" }, { signal: never });
    },
  },
  {
    ...{ of: "multus-config", does: "renders a network again under another name", ms: 10_000 },
    before: ({ api }) => void api.apply<SpiderMultusConfig>(spiderMultusConfigs, config),
    act: ({ api }) => {
      const metadata = { ...config.metadata, annotations: { [annotations.networkName]: "other" } };
      api.apply<SpiderMultusConfig>(spiderMultusConfigs, { ...config, metadata });
    },
    end: ({ api }) => api.all(networkAttachmentDefinitions).map(({ metadata, spec }) => [metadata.name, spec]),
  },
  {
    ...{ of: "default-network", mends: true, does: "makes the network that Pods without a wish get", ms: 10_000 },
    options: { clusterNetwork: "kube-system/main" },
    act: ({ api }) => api.remove(networkAttachmentDefinitions, { namespace: "kube-system", name: "main" }),
    end: ({ api }) => api.all(networkAttachmentDefinitions).map(({ metadata }) => metadata.name),
  },
  {
    ...{
      of: "coordinator",
      mends: true,
      does: "makes the default one again and tells the cluster's ranges",
      ms: 60_000,
    },
    before: ({ api }) => {
      const data = { ClusterConfiguration: "networking:\n  podSubnet: 10.244.0.0/16\n  serviceSubnet: 10.96.0.0/12\n" };
      api.apply(configMaps, { metadata: { namespace: "kube-system", name: "kubeadm-config" }, data });
    },
    act: ({ client }) => void client.delete(spiderCoordinators, { name: "default" }, { signal: never }),
    end: ({ api }) =>
      api.all(spiderCoordinators).map(({ metadata, spec, status }) => [metadata.finalizers, spec, status]),
  },
  {
    ...{
      of: "ledger-epoch",
      mends: true,
      does: "closes pools when the ledger was lost, and opens them",
      ms: 90_000,
      end: ledger,
    },
    before: (cluster) => {
      cluster.api.apply(customResourceDefinitions, definition);
      held(cluster);
    },
    act: ({ api }) => {
      api.remove(customResourceDefinitions, definition.metadata);
      api.apply(customResourceDefinitions, definition);
    },
    meanwhile: tell,
  },
  {
    ...{ of: "take-over", does: "claims what a former system gave", ms: 150_000, meanwhile: tell },
    before: (cluster) => {
      cluster.api.apply(customResourceDefinitions, definition);
      cluster.node("n1");
    },
    act: (cluster) => {
      const { uid } = cluster.pod("a", { status: { podIPs: [{ ip }] } }).metadata;
      const allocatedIPs = JSON.stringify({ [ip]: { pod: "default/a", podUid: uid } });
      const pool = cluster.pool("p");
      const metadata = { ...pool.metadata, annotations: { [annotations.ledgerClosed]: takeOverToken("1") } };
      cluster.api.apply<SpiderIPPool>(spiderIPPools, {
        ...pool,
        metadata,
        status: { allocatedIPs, allocatedIPCount: 1 },
      });
      const current = { uid, node: "n1", ips: [{ interface: "eth0", ipv4: `${ip}/16`, ipv4Pool: "p" }] };
      const status = { current, ownerControllerType: "Pod", ownerControllerName: "a" };
      cluster.api.apply(spiderEndpoints, { metadata: { namespace: "default", name: "a" }, status });
    },
    end: (cluster) => [ledger(cluster), cluster.read(ip)?.spec.podName, cluster.read(ip)?.spec.nic],
  },
  {
    ...{ of: "certificates", does: "makes a certificate and has the webhooks trust it", ms: 60_000 },
    options: { tls: certificate },
    before: ({ api }) => {
      for (const kind of [mutatingWebhooks, validatingWebhooks])
        api.apply(kind, { metadata: { name: "spiderpool" }, webhooks: [webhook] });
    },
    act: ({ api }) => void api.apply(secrets, { metadata: { namespace: "kube-system", name: "certs" }, data: {} }),
    isDone: (cluster) => trusts(cluster).every(Boolean),
    end: trusts,
  },
];

interface Run {
  readonly writes: readonly string[];
  /** The state before, and the result. */
  readonly began: unknown;
  readonly end: unknown;
}

async function run(scenario: Scenario, death?: ConstructorParameters<typeof Mortal>[1]): Promise<Run> {
  const { options: changes = {}, conf = "", before, act, meanwhile = () => {}, ms, isDone, end } = scenario;
  await using cluster = new TestCluster();
  before?.(cluster);
  const mortal = new Mortal(cluster, death);
  const start = (podName: string, more: Parameters<TestCluster["start"]>[1] = {}) =>
    cluster.start({ ...changes, podName }, { conf, ...more });
  await start("a", { transport: mortal.transport });
  await cluster.pass(5_000, { steps: 20 });
  mortal.isArmed = true;
  const pass = async (forMs: number, isOver: () => boolean) => {
    for (let step = 0; step < looks && !isOver(); step++) {
      meanwhile(cluster);
      await cluster.pass(forMs / looks, { steps: 4 });
    }
    const isOverNow = () => isOver() || isDone?.(cluster) !== false;
    const look = () => cluster.pass(100, { steps: 1 }).then(isOverNow);
    if (!isOverNow()) await until("the work is done", look, Boolean);
  };
  const began = end(cluster);
  act(cluster);
  await pass(ms, () => mortal.isDead);
  // If not all of it follows the clock, one run may write something twice that another one need not.
  const isDoneWithFewer = !mortal.isDead && isDone?.(cluster) === true;
  if (death !== undefined && !isDoneWithFewer) {
    assert.ok(mortal.isDead, `write ${death.at} was not reached: ${mortal.writes.join(", ")}`);
    await start("b");
    await pass(ms + takenMs, () => false);
    assert.match(cluster.api.read(leases, lease)?.spec?.holderIdentity ?? "", /^b_/);
  }
  return { writes: mortal.writes, began, end: end(cluster) };
}

describe("a leader killed before or after any write", () => {
  for (const scenario of scenarios) {
    it(`of ${scenario.of} is followed by one that completes the work: ${scenario.does}`, async () => {
      const alone = await run(scenario);
      assert.ok(alone.writes.length > 0, "it has nothing to write");
      if (scenario.mends !== true) assert.notDeepEqual(alone.end, alone.began);
      for (const [at, write] of alone.writes.entries()) {
        // The state before a write is the state after the previous one, so only the first needs "before".
        for (const when of at === 0 ? (["before", "after"] as const) : (["after"] as const)) {
          const { end } = await run(scenario, { at, when });
          assert.deepEqual(end, alone.end, `killed ${when} write ${at}, ${write}`);
        }
      }
    });
  }

  it("is tried in every reconcile of the controller", () => {
    const loops = ["ledger-epoch", "take-over", "outdated-endpoints"];
    const files = globSync("**/*.ts", { cwd: folder, exclude: ["**/*.test.ts", "testing/**"] });
    const sources = files.map((file) => readFileSync(join(folder, file), "utf8"));
    const controllers = sources
      .filter((source) => source.includes("ControllerOptions"))
      .flatMap((source) => [...source.matchAll(/[{\s]name: "([a-z-]+)",/g)].map(([, name = ""]) => name));
    const writesOnlyEvents = ["workload-annotations", "network-keys"];
    const names = new Set([...controllers, ...loops].filter((name) => !writesOnlyEvents.includes(name)));
    assert.deepEqual(new Set(scenarios.map(({ of }) => of)), names);
  });
});
