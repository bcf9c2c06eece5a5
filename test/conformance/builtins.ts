import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { merge, type Suite } from "./suite.ts";

/** What the API server does with some kinds of its own. */
export function builtins({ call, made, names }: Suite): void {
  describe("built-in kinds", () => {
    it("keep a Lease's microseconds", async () => {
      const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
      const renewTime = "2026-01-01T00:00:00.123000Z";
      const spec = { holderIdentity: "a", leaseDurationSeconds: 15, renewTime };
      const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: "l" }, spec };
      assert.equal((await made(leases, lease)).spec.renewTime, renewTime);
    });

    it("select Events by what they are about", async () => {
      const events = "/api/v1/namespaces/default/events";
      const event = (name: string, about: string) => ({
        apiVersion: "v1",
        kind: "Event",
        metadata: { name },
        type: "Normal",
        reason: "Conformance",
        involvedObject: { apiVersion: "v1", kind: "Pod", namespace: "default", name: about },
      });
      await made(events, event("e1", "one"));
      await made(events, event("e2", "two"));
      const selector = encodeURIComponent("involvedObject.name=one,reason=Conformance");
      assert.deepEqual(names((await call("GET", `${events}?fieldSelector=${selector}`)).body), ["e1"]);
    });

    it("spell a Node's amounts in one way", async () => {
      await made("/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name: "n" } });
      const amounts = { "example.com/br1": "1000", memory: "16384Ki", cpu: "2" };
      const { body } = await call("PATCH", "/api/v1/nodes/n/status", { status: { capacity: amounts } }, merge);
      assert.deepEqual(body.status.capacity, { "example.com/br1": "1k", memory: "16Mi", cpu: "2" });
    });

    it("end a Pod of a node gracefully, and one of none at once", async () => {
      const pods = "/api/v1/namespaces/default/pods";
      const pod = (name: string, spec: object) => ({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name },
        spec: { ...spec, containers: [{ name: "c", image: "none" }] },
      });
      await made(pods, pod("nowhere", {}));
      await call("DELETE", `${pods}/nowhere`);
      assert.equal((await call("GET", `${pods}/nowhere`)).status, 404);
      await made(pods, pod("somewhere", { nodeName: "n" }));
      const { body } = await call("DELETE", `${pods}/somewhere`);
      assert.equal(body.metadata.deletionGracePeriodSeconds, 30);
      assert.equal((await call("DELETE", `${pods}/somewhere?gracePeriodSeconds=0`)).status, 200);
      assert.equal((await call("GET", `${pods}/somewhere`)).status, 404);
    });

    it("bind a Pod once", async () => {
      const pods = "/api/v1/namespaces/default/pods";
      const spec = { containers: [{ name: "c", image: "none" }] };
      await made(pods, { apiVersion: "v1", kind: "Pod", metadata: { name: "bound" }, spec });
      const binding = {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name: "bound" },
        target: { kind: "Node", name: "n" },
      };
      assert.equal((await call("POST", `${pods}/bound/binding`, binding)).status, 201);
      assert.equal((await call("GET", `${pods}/bound`)).body.spec.nodeName, "n");
      assert.equal((await call("POST", `${pods}/bound/binding`, binding)).status, 409);
      await call("DELETE", `${pods}/bound?gracePeriodSeconds=0`);
    });
  });
}
