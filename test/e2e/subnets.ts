import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { settled } from "./audit.ts";
import { type KubeObject, manifests, type Suite } from "./suite.ts";
import { until } from "./until.ts";

const annotations = {
  "ipam.spidernet.io/subnet": '{"ipv4":["subnet-test"]}',
  "v1.multus-cni.io/default-network": "kube-system/ovs-conf",
};

function template(name: string, restartPolicy: "Always" | "Never", seconds: string): object {
  const resources = { requests: { cpu: "1m", memory: "4Mi" } };
  const command = ["sh", "-c", `sleep ${seconds}`];
  const container = { name: "web", image: "docker.io/library/busybox:1.37", command, resources };
  const spec = { restartPolicy, terminationGracePeriodSeconds: 0, containers: [container] };
  return { metadata: { labels: { app: name }, annotations }, spec };
}

/** One application of each kind with two Pods (a DaemonSet: one on the one node; a CronJob: one a minute). */
function applications(): readonly object[] {
  const scaled = (kind: string, more: object = {}) => {
    const name = kind.toLowerCase();
    const selector = { matchLabels: { app: name } };
    const spec = { replicas: 2, selector, template: template(name, "Always", "3600"), ...more };
    return { apiVersion: "apps/v1", kind, metadata: { name }, spec };
  };
  const { replicas: _replicas, ...daemon } = scaled("DaemonSet").spec;
  const job = { completions: 2, parallelism: 2, template: template("job", "Never", "1") };
  const cron = { schedule: "* * * * *", jobTemplate: { spec: { template: template("cronjob", "Never", "1") } } };
  return [
    scaled("Deployment"),
    scaled("ReplicaSet"),
    scaled("StatefulSet", { serviceName: "none" }),
    { ...scaled("DaemonSet"), spec: daemon },
    { apiVersion: "batch/v1", kind: "Job", metadata: { name: "job" }, spec: job },
    { apiVersion: "batch/v1", kind: "CronJob", metadata: { name: "cronjob" }, spec: cron },
  ];
}

/** Each application's kind, and the addresses of its pool: one more than Pods. */
const sizes = { Deployment: 3, ReplicaSet: 3, StatefulSet: 3, DaemonSet: 2, Job: 3, CronJob: 2 } as const;

/** For a cluster of one node. */
export const subnets = (suiteOf: () => Suite) =>
  describe("applications with a subnet", () => {
    let suite: Suite;
    before(async () => {
      suite = suiteOf();
      await suite.kubectl("apply", "-f", `${manifests}/network.yaml`, "-f", `${manifests}/../subnet/subnet.yaml`);
      await suite.apply(...applications());
    });

    const pools = () => suite.list<KubeObject>("spiderippools");
    const poolsByKind = async () => {
      const found = (await pools()).map(({ metadata: { labels = {} }, status = {} }) => [
        labels["ipam.spidernet.io/owner-application-kind"] ?? "",
        status["totalIPCount"],
      ]);
      return Object.fromEntries(found.filter(([kind]) => kind !== ""));
    };

    it("each of the six kinds has a pool of its size", async () => {
      await until("six pools", async () => {
        const found = await poolsByKind();
        return Object.entries(sizes).every(([kind, size]) => found[kind] === size) ? found : undefined;
      });
    });

    it("and its Pods run, with addresses of it", async () => {
      await until(
        "the Pods of Deployment, ReplicaSet, StatefulSet, DaemonSet run, those of the Job end",
        async () => {
          const pods = await suite.list<KubeObject>("pods");
          const ready = pods.filter(({ metadata, status }) => {
            const phase = status?.["phase"];
            return metadata.labels?.["app"] === "job" ? phase === "Succeeded" : phase === "Running";
          });
          const counts = Object.groupBy(ready, ({ metadata }) => metadata.labels?.["app"] ?? "");
          const wanted = { deployment: 2, replicaset: 2, statefulset: 2, daemonset: 1, job: 2 };
          return Object.entries(wanted).every(([app, count]) => counts[app]?.length === count) ? true : undefined;
        },
        300,
      );
      const pods = await suite.list<{ status: { podIP?: string } }>("pods");
      for (const { status } of pods) if (status.podIP !== undefined) assert.match(status.podIP, /^172\.18\.50\.\d+$/);
    });

    it("pools go with their applications", async () => {
      await suite.kubectl("delete", "deploy,rs,sts,ds,job,cronjob", "--all", "--wait=false");
      await until("all pools are on their way out", async () => {
        const left = (await pools()).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
        return left.some(({ metadata }) => metadata.name.startsWith("auto4-")) ? undefined : true;
      });
      await until("all Pods are gone", async () => ((await suite.list("pods")).length === 0 ? true : undefined));
      await settled(suite);
    });
  });
