import assert from "node:assert/strict";
import {
  finalizer,
  annotations as keys,
  parseControlledIPPools,
  type SpiderIPPool,
  type SpiderSubnet,
  type SpiderSubnetSpec,
  spiderIPAddresses,
  spiderIPPools,
  spiderSubnets,
} from "#api";
import {
  cronJobs,
  daemonSets,
  deployments,
  events,
  jobs,
  type KubeObject,
  type Resource,
  replicaSets,
  statefulSets,
} from "#kube";
import { TestCluster } from "../../testing/cluster.ts";

/** An owner that is a Deployment. */
export const reference = { apiVersion: "apps/v1", kind: "Deployment", name: "up", uid: "u", controller: true };

/** A workload, as far as a test cares; the rest has usual values. */
export interface App {
  readonly name?: string;
  readonly replicas?: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly hostNetwork?: boolean;
  readonly owners?: readonly object[];
}

/** The six kinds of workload. */
export const kinds = [deployments, replicaSets, statefulSets, daemonSets, jobs, cronJobs] as const;

/** Stable endings of pool names in tests, for the first, second and third workload. */
const ends = ["9a2b3", "77777", "88888"] as const;

/** A cluster with a running controller, with views of its subnets and pools. */
export class Subnets extends TestCluster {
  readonly #uids: string[] = [];

  subnet(name: string, spec: Partial<SpiderSubnetSpec> = {}): SpiderSubnet {
    return this.api.apply<SpiderSubnet>(spiderSubnets, {
      metadata: { name, finalizers: [finalizer] },
      spec: { ipVersion: 4, subnet: "10.6.0.0/16", ips: ["10.6.0.10-10.6.0.19"], gateway: "10.6.0.1", ...spec },
    });
  }

  /** Creates or changes a workload; returns its UID. */
  app(resource: Resource<KubeObject>, app: App = {}): string {
    const { name = "web", replicas = 2, annotations = {}, hostNetwork = false, owners = [] } = app;
    const template = {
      metadata: { annotations: { [keys.subnet]: '{"ipv4":["s"]}', ...annotations } },
      spec: { hostNetwork },
    };
    const body = {
      Job: { spec: { template, completions: replicas, parallelism: 1 } },
      CronJob: { spec: { jobTemplate: { spec: { template, parallelism: replicas } } } },
      DaemonSet: { spec: { template }, status: { desiredNumberScheduled: replicas } },
    }[resource.kind] ?? { spec: { template, replicas } };
    const metadata = { namespace: "default", name, ownerReferences: owners };
    const { uid } = this.api.apply(resource, { metadata, ...body }).metadata;
    if (!this.#uids.includes(uid)) this.#uids.push(uid);
    return uid;
  }

  get pools(): Readonly<Record<string, readonly string[] | undefined>> {
    return Object.fromEntries(
      this.api.all(spiderIPPools).map(({ metadata, spec }) => [this.#aliased(metadata.name), spec.ips]),
    );
  }

  read4(alias: string): SpiderIPPool {
    const found = this.api.all(spiderIPPools).find(({ metadata }) => this.#aliased(metadata.name) === alias);
    return found ?? assert.fail(`no pool ${alias}`);
  }

  /** Replaces the endings made from UIDs by the stable ones. */
  #aliased(text: string): string {
    return this.#uids.reduce((all, uid, at) => all.replaceAll(`-${uid.slice(24, 29)}`, `-${ends[at]}`), text);
  }

  status(name = "s") {
    const { status = {} } = this.api.read(spiderSubnets, { name }) ?? assert.fail(`no subnet ${name}`);
    const text = this.#aliased(status.controlledIPPools ?? "");
    return { ...status, text, parts: parseControlledIPPools(status.controlledIPPools) ?? {} };
  }

  get holds(): readonly string[] {
    return this.api
      .all(spiderIPAddresses)
      .flatMap(({ metadata, spec }) => (spec.purpose === "Hold" ? [metadata.name] : []));
  }

  told(reason: string): readonly string[] {
    return this.api.all(events).flatMap((event) => (event.reason === reason ? [event.message ?? ""] : []));
  }
}

/** A cluster with the subnet `s`: 10.6.0.10 to .19. `conf` is the text of conf.yml. */
export async function withSubnet(spec: Partial<SpiderSubnetSpec> = {}, conf?: string): Promise<Subnets> {
  const cluster = new Subnets();
  cluster.subnet("s", spec);
  await cluster.start({}, conf === undefined ? {} : { conf });
  await cluster.pass(100);
  return cluster;
}
