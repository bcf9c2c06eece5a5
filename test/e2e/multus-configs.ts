import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { installed } from "../cluster/product.ts";
import { type KubeObject, manifests, type Suite } from "./suite.ts";
import { until } from "./until.ts";

interface Network extends KubeObject {
  readonly metadata: KubeObject["metadata"] & {
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly kind: string; readonly name: string }[];
  };
  readonly spec: { readonly config?: string };
}

interface PodLike {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly containers: readonly { readonly resources: { readonly limits?: Readonly<Record<string, string>> } }[];
  };
}

export const multusConfigFlags = ["--set", "spiderpoolController.podResourceInject.enabled=true"];

const walkthroughConfig =
  '{"cniVersion":"0.3.1","name":"ovs-conf","plugins":[{"type":"ovs","bridge":"br1","ipam":{"type":"spiderpool"}},{"type":"coordinator"}]}';

function config(name: string, spec: object, annotations: Readonly<Record<string, string>> = {}): object {
  const metadata = { name, namespace: "kube-system", annotations };
  return { apiVersion: "spiderpool.spidernet.io/v2beta1", kind: "SpiderMultusConfig", metadata, spec };
}

/** For a cluster on which no network was made yet, with {@link multusConfigFlags}. */
export const multusConfigs = (suiteOf: () => Suite) =>
  describe("SpiderMultusConfigs", () => {
    let suite: Suite;
    before(() => {
      suite = suiteOf();
    });

    const networkOf = async (name: string): Promise<Network | undefined> => {
      const { ok, stdout } = await suite.stage.quiet("get", "net-attach-def", name, "-n", "kube-system", "-o", "json");
      return ok ? (JSON.parse(stdout) as Network) : undefined;
    };
    const rendered = (name: string, text: string) =>
      until(`${name} is rendered`, async () => {
        const network = await networkOf(name);
        return network?.spec.config === text ? network : undefined;
      });
    /** Sends an object without storing it; the API server's answer, or its refusal as text. */
    const tried = (object: object) =>
      suite.stage.input(JSON.stringify(object), "create", "--dry-run=server", "-o", "json", "-f", "-");

    it("an empty default network is told, and so is who will change to another one", async () => {
      const fields = "reason=DefaultNetworkEmpty";
      const event = await until(
        "the Event",
        async () => (await suite.list<{ message: string }>("events", { namespace: "", fields }))[0],
      );
      assert.match(event.message, /^kube-system\/ovs-conf is empty: /);
    });

    it("an empty network that an earlier Spiderpool left is made the walk-through's by kubectl apply", async () => {
      const left = { cniType: "custom", customCNI: "", enableCoordinator: false };
      const { ok, stderr } = await suite.stage.input(JSON.stringify(config("ovs-conf", left)), "create", "-f", "-");
      assert.ok(ok, stderr);
      await until("it owns the network", async () => (await networkOf("ovs-conf"))?.metadata.ownerReferences?.[0]);
      await suite.kubectl("apply", "-f", `${manifests}/network.yaml`);
      await rendered("ovs-conf", walkthroughConfig);
    });

    it("a network that is edited or deleted is put right", async () => {
      const patch = JSON.stringify({
        metadata: { ownerReferences: null, annotations: { mine: "x" } },
        spec: { config: "{}" },
      });
      await suite.kubectl("patch", "net-attach-def", "ovs-conf", "-n", "kube-system", "--type=merge", "-p", patch);
      const { metadata } = await rendered("ovs-conf", walkthroughConfig);
      assert.equal(metadata.ownerReferences?.[0]?.name, "ovs-conf");
      assert.equal(metadata.annotations?.["mine"], undefined);
      await suite.kubectl("delete", "net-attach-def", "ovs-conf", "-n", "kube-system");
      await rendered("ovs-conf", walkthroughConfig);
    });

    it("one of every type is admitted, with the defaults of its kind", async () => {
      const specs: readonly object[] = [
        { cniType: "macvlan", macvlan: { master: ["eth1"] } },
        { cniType: "ipvlan", ipvlan: { master: ["eth1", "eth2"], bond: { name: "b", mode: 1 }, vlanID: 5 } },
        { cniType: "vlan", vlan: { master: ["eth1"] } },
        { cniType: "sriov", sriov: { resourceName: "a/b" } },
        { cniType: "ovs", ovs: { bridge: "br1", trunk: [{ id: 3 }, { minID: 5, maxID: 9 }] } },
        { cniType: "ib-sriov", ibsriov: { resourceName: "a/b" } },
        { cniType: "ipoib", ipoib: { master: "ib0" } },
        { customCNI: '{"type":"x"}' },
      ];
      for (const spec of specs) {
        const { ok, stdout, stderr } = await tried(config("one", spec));
        assert.ok(ok, stderr);
        const admitted = JSON.parse(stdout).spec as { readonly cniType: string; readonly enableCoordinator: boolean };
        assert.equal(admitted.enableCoordinator, admitted.cniType !== "custom");
      }
    });

    it("what breaks a rule is refused with its field", async () => {
      const refused: readonly (readonly [object, RegExp])[] = [
        [config("one", { cniType: "macvlan", ovs: { bridge: "br1" } }), /cniType is macvlan/],
        [config("one", { cniType: "ovs", ovs: { bridge: "br1", trunk: [{ maxID: 5 }] } }), /spec\.ovs/],
        [config("one", { customCNI: "{" }), /spec\.customCNI: Invalid value/],
        [config("one", {}, { "multus.spidernet.io/cni-version": "9" }), /cni-version\]: Unsupported value: "9"/],
        [config("two", {}, { "multus.spidernet.io/cr-name": "ovs-conf" }), /is managed by SpiderMultusConfig ovs-conf/],
      ];
      for (const [object, sentence] of refused) {
        const { ok, stderr } = await tried(object);
        assert.equal(ok, false);
        assert.match(stderr, sentence);
      }
    });

    it("a namespace's Pods are created with the networks and resources that it asks for; others are left alone", async () => {
      const key = "cni.spidernet.io/rdma-resource-inject";
      const rail = (name: string, master: string) =>
        config(
          name,
          {
            cniType: "macvlan",
            macvlan: { master: [master], rdmaResourceName: `test.example/${master}`, ippools: { ipv4: ["p"] } },
          },
          { [key]: "ai" },
        );
      const jobs = { apiVersion: "v1", kind: "Namespace", metadata: { name: "jobs", annotations: { [key]: "ai" } } };
      await suite.apply(rail("rail-b", "eth1"), rail("rail-a", "eth2"), jobs);
      const pod = (namespace: string, annotations = {}) => ({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "p", namespace, annotations },
        spec: { containers: [{ name: "a", image: "a" }] },
      });
      const created = async (object: object) => {
        const { ok, stdout, stderr } = await tried(object);
        assert.ok(ok, stderr);
        return JSON.parse(stdout) as PodLike;
      };
      // The ServiceAccount of a namespace is made a moment later.
      const { metadata, spec } = await until("the namespace takes Pods", () =>
        created(pod("jobs")).catch(() => undefined),
      );
      assert.equal(metadata.annotations?.["k8s.v1.cni.cncf.io/networks"], "kube-system/rail-b,kube-system/rail-a");
      assert.deepEqual(spec.containers[0]?.resources.limits, { "test.example/eth1": "1", "test.example/eth2": "1" });
      assert.equal((await created(pod("default"))).metadata.annotations?.["k8s.v1.cni.cncf.io/networks"], undefined);
      const { ok, stderr } = await tried(pod("default", { [key]: "nobody" }));
      assert.equal(ok, false);
      assert.match(
        stderr,
        /no spidermultusconfigs with annotation: cni\.spidernet\.io\/rdma-resource-inject:nobody found/,
      );
      await created(pod("kube-system", { [key]: "nobody" }));
    });

    it("Pods are created all the same while the controller is away", async () => {
      const deployment = ["deployment/spiderpool-controller", "-n", "kube-system"] as const;
      await suite.kubectl("scale", ...deployment, "--replicas=0");
      await suite.kubectl(
        "wait",
        "pod",
        "-n",
        "kube-system",
        "-l",
        "app.kubernetes.io/component=spiderpool-controller",
        "--for=delete",
        "--timeout=300s",
      );
      const metadata = { name: "p", namespace: "jobs" };
      const { ok, stderr } = await tried({
        apiVersion: "v1",
        kind: "Pod",
        metadata,
        spec: { containers: [{ name: "a", image: "a" }] },
      });
      assert.ok(ok, stderr);
      await suite.kubectl("scale", ...deployment, "--replicas=1");
      await installed(suite.stage);
    });
  });
