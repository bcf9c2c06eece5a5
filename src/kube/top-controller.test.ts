import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { never, systemClock } from "#base";
import { KubeClient } from "./client.ts";
import { jobs, type Pod, replicaSets } from "./kinds/core.ts";
import type { KubeObject } from "./kinds/resource.ts";
import { FakeApi } from "./testing/fake-api.ts";
import { TopControllers } from "./top-controller.ts";

let api: FakeApi;
let owners: TopControllers;

beforeEach(() => {
  api = new FakeApi();
  owners = new TopControllers(new KubeClient({ transport: api, clock: systemClock }));
});

const owner = (apiVersion: string, kind: string, name: string, uid = `uid-${name}`) => [
  { apiVersion, kind, name, uid, controller: true },
];

async function topOf(ownerReferences: object | undefined) {
  const metadata = { namespace: "default", name: "a", uid: "uid-a", resourceVersion: "1", ownerReferences };
  const top = await owners.of({ metadata } as Pod, { signal: never });
  return top && `${top.apiGroup}/${top.apiVersion} ${top.kind} ${top.namespace}/${top.name}`;
}

/** Makes a ReplicaSet or Job and returns the Pod's reference to it. */
function middle(kind: "ReplicaSet" | "Job", ownerReferences?: object) {
  const metadata = { namespace: "default", name: "mid", ...(ownerReferences && { ownerReferences }) };
  const { uid } = api.apply<KubeObject>(kind === "Job" ? jobs : replicaSets, { metadata }).metadata;
  return owner(kind === "Job" ? "batch/v1" : "apps/v1", kind, "mid", uid);
}

describe("TopControllers.of()", () => {
  it("is undefined for a bare Pod, and for an owner that does not control it", async () => {
    assert.equal(await topOf(undefined), undefined);
    assert.equal(await topOf([{ apiVersion: "v1", kind: "Node", name: "n1", uid: "u" }]), undefined);
  });

  it("climbs from a ReplicaSet to its Deployment and from a Job to its CronJob", async () => {
    assert.equal(
      await topOf(middle("ReplicaSet", owner("apps/v1", "Deployment", "web"))),
      "apps/v1 Deployment default/web",
    );
    assert.equal(await topOf(middle("Job", owner("batch/v1", "CronJob", "tick"))), "batch/v1 CronJob default/tick");
  });

  it("stays at a ReplicaSet or Job that nobody owns, or that a stranger owns", async () => {
    assert.equal(await topOf(middle("ReplicaSet")), "apps/v1 ReplicaSet default/mid");
    assert.equal(
      await topOf(middle("Job", owner("argoproj.io/v1alpha1", "Workflow", "w"))),
      "batch/v1 Job default/mid",
    );
  });

  it("takes every other owner as it is, without a request", async () => {
    assert.equal(await topOf(owner("apps/v1", "StatefulSet", "db")), "apps/v1 StatefulSet default/db");
    assert.equal(await topOf(owner("apps/v1", "DaemonSet", "ds")), "apps/v1 DaemonSet default/ds");
    assert.equal(
      await topOf(owner("kubevirt.io/v1", "VirtualMachineInstance", "vm")),
      "kubevirt.io/v1 VirtualMachineInstance default/vm",
    );
    assert.equal(await topOf(owner("v1", "ReplicationController", "rc")), "/v1 ReplicationController default/rc");
    assert.equal(api.requests.length, 0);
  });

  it("asks once for each ReplicaSet", async () => {
    const reference = middle("ReplicaSet", owner("apps/v1", "Deployment", "web"));
    await topOf(reference);
    await topOf(reference);
    assert.equal(api.requests.length, 1);
  });

  it("does not climb by a ReplicaSet that only has the same name", async () => {
    middle("ReplicaSet", owner("apps/v1", "Deployment", "web"));
    assert.equal(await topOf(owner("apps/v1", "ReplicaSet", "mid", "former")), "apps/v1 ReplicaSet default/mid");
  });

  it("fails where the look-up fails, and remembers nothing of it", async () => {
    const reference = middle("ReplicaSet", owner("apps/v1", "Deployment", "web"));
    api.fail(() => true, { kind: "status", status: 500, reason: "InternalError" });
    await assert.rejects(topOf(reference), /cannot get replicasets/);
    assert.equal(await topOf(reference), "apps/v1 Deployment default/web");
  });
});
