import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { applyPatch } from "rfc6902";
import {
  AddressIndex,
  decodeSettings,
  labels,
  linkToSubnet,
  networkAttachmentDefinitions,
  type SpiderIPPool,
  type SpiderSubnet,
  type Submitted,
  spiderIPPools,
  spiderSubnets,
} from "#api";
import { never, silentLogger } from "#base";
import { type KubeObject, type Resource, WatchedStore } from "#kube";
import type { HttpRoutes } from "../http/http.ts";
import { indexOf } from "../pools/index-of.ts";
import { TestCluster } from "../testing/cluster.ts";
import { jsonPatch } from "./json-patch.ts";
import { admissionKinds } from "./kinds.ts";
import { admissionRoutes } from "./routes.ts";

interface Answer {
  readonly allowed: boolean;
  readonly patch?: string;
  readonly warnings?: readonly string[];
  readonly status?: {
    readonly code: number;
    readonly message: string;
    readonly details: { readonly causes: readonly { readonly reason: string; readonly field: string }[] };
  };
}

/** The routes of a replica whose stores follow the cluster. */
class Admission extends TestCluster {
  /** What the Lease tells of the ledger. */
  epoch: string | undefined;
  readonly #stop = new AbortController();
  readonly #options = { client: this.client, clock: this.clock, log: silentLogger };
  readonly #stores = {
    pools: this.#watch(spiderIPPools),
    subnets: this.#watch(spiderSubnets),
    networks: this.#watch(networkAttachmentDefinitions),
  };
  readonly routes: HttpRoutes;

  constructor(conf = "") {
    super();
    this.routes = admissionRoutes({
      kinds: admissionKinds(
        { ...this.#options, settings: decodeSettings(conf).settings },
        {
          ...this.#stores,
          poolIndex: indexOf(this.#stores.pools),
          subnetIndex: indexOf(this.#stores.subnets),
          epoch: () => this.epoch,
        },
      ),
      synced: (o) => Promise.all(Object.values(this.#stores).map((store) => store.synced(o))),
      log: silentLogger,
    });
  }

  #watch<T extends KubeObject>(resource: Resource<T>): WatchedStore<T> {
    const store = new WatchedStore<T>({ ...this.#options, resource });
    store.run(this.#stop).catch(assert.fail);
    return store;
  }

  async ask(verb: "mutate" | "validate", kind: string, request: object): Promise<Answer> {
    await this.settle();
    const body = {
      apiVersion: "admission.k8s.io/v1",
      kind: "AdmissionReview",
      request: { uid: "u", operation: "CREATE", name: "x", ...request },
    };
    const route = this.routes[`/${verb}-spiderpool-spidernet-io-v2beta1-${kind}`] ?? assert.fail("no such path");
    const { status, body: answer } = await route.answer(JSON.stringify(body), { signal: never });
    assert.equal(status, 200);
    const { response } = answer as { readonly response: Answer & { readonly uid: string } };
    assert.equal(response.uid, "u");
    return response;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await super[Symbol.asyncDispose]();
  }
}

const spec = { ipVersion: 4, subnet: "172.18.0.0/16", ips: ["172.18.30.131-172.18.30.140"] };
const pool = (more: object = {}, name = "x") => ({ metadata: { name }, spec: { ...spec, ...more } });
const fields = ({ status }: Answer) => status?.details.causes.map(({ reason, field }) => `${reason} ${field}`);

describe("/mutate-…", () => {
  it("answers with a patch that fills in the defaults", async () => {
    await using admission = new Admission();
    const object = { metadata: { name: "x" }, spec: { subnet: "172.18.0.0/16", ips: ["172.18.0.3", "172.18.0.2"] } };
    const { allowed, patch = "" } = await admission.ask("mutate", "spiderippool", { object });
    assert.equal(allowed, true);
    assert.deepEqual(applyPatch(object, JSON.parse(Buffer.from(patch, "base64").toString())), [null, null, null, null]);
    assert.deepEqual(object, {
      metadata: {
        name: "x",
        finalizers: ["spiderpool.spidernet.io"],
        labels: { "ipam.spidernet.io/ippool-cidr": "172-18-0-0-16" },
      },
      spec: { subnet: "172.18.0.0/16", ips: ["172.18.0.2-172.18.0.3"], ipVersion: 4 },
    });
  });

  it("closes a pool that gains addresses while claims and pools are lost, and allows opening it", async () => {
    await using admission = new Admission();
    admission.epoch = "lost-1";
    const closed = async (request: object) => {
      const { patch = "" } = await admission.ask("mutate", "spiderippool", request);
      return Buffer.from(patch, "base64").toString().includes('lost-1"');
    };
    const object = pool();
    assert.equal(await closed({ object }), true);
    const wider = pool({ ips: ["172.18.30.131-172.18.30.150"] });
    assert.equal(await closed({ operation: "UPDATE", object: wider, oldObject: object }), true);
    assert.equal(await closed({ operation: "UPDATE", object, oldObject: object }), false);
    admission.epoch = "5d40b76b-294a-421a-9894-34fb81712732";
    assert.equal(await closed({ object }), false);
  });

  it("adds the coordinator to a network made of the empty one, unless its user refused it", async () => {
    await using admission = new Admission();
    const metadata = { name: "x", namespace: "kube-system" };
    const ovs = { cniType: "ovs", customCNI: "", enableCoordinator: false, ovs: { bridge: "br1" } };
    const enabled = async (oldSpec: object) => {
      const request = { operation: "UPDATE", object: { metadata, spec: ovs }, oldObject: { metadata, spec: oldSpec } };
      const { patch = "" } = await admission.ask("mutate", "spidermultusconfig", request);
      const object = structuredClone(request.object);
      applyPatch(object, JSON.parse(Buffer.from(patch, "base64").toString()));
      return object.spec.enableCoordinator;
    };
    assert.equal(await enabled({ cniType: "custom", customCNI: "", enableCoordinator: false }), true);
    assert.equal(await enabled(ovs), false);
  });

  it("passes an object that it cannot read: the schema refuses it", async () => {
    await using admission = new Admission();
    const answer = await admission.ask("mutate", "spiderippool", { object: { metadata: {}, spec: { subnet: 7 } } });
    assert.deepEqual([answer.allowed, answer.patch], [true, undefined]);
  });
});

describe("/validate-…", () => {
  it("says in its own words what a CEL rule of the schema would refuse before it is asked, and only then", async () => {
    await using admission = new Admission();
    const bits = { subnet: "172.18.0.1/16", ips: ["172.19.0.9"] };
    for (const kind of ["spiderippool", "spidersubnet"]) {
      const refused = await admission.ask("mutate", kind, { object: { metadata: { name: "x" }, spec: bits } });
      assert.match(
        refused.status?.message ?? "",
        /spec\.subnet: Invalid value: "172\.18\.0\.1\/16": unformatted subnet 172\.18\.0\.1\/16, please change it to 172\.18\.0\.0\/16, spec\.ips\[0\]/,
      );
      const old = { metadata: { name: "x" }, spec };
      const moved = {
        object: { ...old, spec: { ...spec, subnet: "172.20.0.0/16" } },
        oldObject: old,
        operation: "UPDATE",
      };
      assert.match(
        (await admission.ask("mutate", kind, moved)).status?.message ?? "",
        /spec\.subnet: Forbidden: is not changeable/,
      );
      const outside = { object: { ...old, spec: { ...spec, ips: ["172.19.0.9"] } } };
      assert.equal((await admission.ask("mutate", kind, outside)).allowed, true, "no CEL rule looks at ips");
      const kept = {
        object: { metadata: { name: "x" }, spec: bits },
        oldObject: { metadata: { name: "x" }, spec: bits },
      };
      assert.equal((await admission.ask("mutate", kind, { ...kept, operation: "UPDATE" })).allowed, true);
    }
  });

  it("refuses in the API server's words, every violation as a cause", async () => {
    await using admission = new Admission();
    const answer = await admission.ask("validate", "spiderippool", { object: pool({ gateway: "10.0.0.1" }) });
    assert.deepEqual([answer.allowed, answer.status?.code], [false, 422]);
    assert.deepEqual(fields(answer), ["FieldValueInvalid spec.gateway"]);
    assert.match(
      answer.status?.message ?? "",
      /^SpiderIPPool.spiderpool.spidernet.io "x" is invalid: spec.gateway: Invalid value: "10.0.0.1": /,
    );
  });

  it("compares a pool with the others", async () => {
    await using admission = new Admission();
    admission.pool("p");
    const answer = await admission.ask("validate", "spiderippool", { object: pool() });
    assert.deepEqual(fields(answer), ["FieldValueForbidden spec.ips"]);
  });

  it("admits exactly one of a hundred identical pools that come at once, and does not count a dry run", async () => {
    await using admission = new Admission();
    await admission.ask("validate", "spiderippool", { object: pool({}, "dry"), dryRun: true });
    const names = Array.from({ length: 100 }, (_, at) => `p${at}`);
    const ask = (name: string) => admission.ask("validate", "spiderippool", { name, object: pool({}, name) });
    const answers = await Promise.all(names.map(ask));
    assert.equal(answers.filter(({ allowed }) => allowed).length, 1);
  });

  it("names a pool that was just admitted once, whatever the API server filled in", async () => {
    await using admission = new Admission();
    await admission.ask("validate", "spiderippool", { object: pool({}, "first") });
    admission.api.apply<SpiderIPPool>(spiderIPPools, pool({ default: false }, "first"));
    const answer = await admission.ask("validate", "spiderippool", { object: pool() });
    assert.deepEqual(fields(answer), ["FieldValueForbidden spec.ips"]);
    admission.api.remove(spiderIPPools, { name: "first" });
    assert.equal((await admission.ask("validate", "spiderippool", { object: pool() })).allowed, true);
  });

  it("asks the ledger for the users of addresses that an update removes", async () => {
    await using admission = new Admission();
    const old = admission.api.apply<SpiderIPPool>(spiderIPPools, pool());
    admission.claim("172.18.30.140", old);
    const ask = (ips: readonly string[]) =>
      admission.ask("validate", "spiderippool", {
        operation: "UPDATE",
        oldObject: old,
        object: { ...old, spec: { ...spec, ips } },
      });
    const refused = await ask(["172.18.30.131-172.18.30.139"]);
    assert.match(refused.status?.message ?? "", /172.18.30.140 that is being used by Pod default\/pod-172.18.30.140/);
    assert.equal((await ask(["172.18.30.132-172.18.30.140"])).allowed, true);
  });

  it("serves every kind", async () => {
    await using admission = new Admission();
    const refused = async (kind: string, spec: object) => {
      const object = { metadata: { name: "x", namespace: "n" }, spec };
      return fields(await admission.ask("validate", kind, { object }));
    };
    assert.deepEqual(await refused("spidersubnet", { ipVersion: 4, subnet: "172.18.0.1/16" }), [
      "FieldValueInvalid spec.subnet",
    ]);
    assert.deepEqual(await refused("spiderreservedip", { ipVersion: 4, ips: ["10.0.0.9-10.0.0.1"] }), [
      "FieldValueInvalid spec.ips[0]",
    ]);
    assert.deepEqual(await refused("spidercoordinator", {}), ["FieldValueRequired spec.podCIDRType"]);
    assert.deepEqual(await refused("spidermultusconfig", { cniType: "ovs" }), ["FieldValueRequired spec.ovs"]);
  });

  it("allows removing an address that is only on hold or in quarantine", async () => {
    await using admission = new Admission();
    const old = admission.api.apply<SpiderIPPool>(spiderIPPools, pool());
    const until = "2030-01-01T00:00:00Z";
    admission.claim("172.18.30.140", old, "n1", { purpose: "Hold", until, reason: "its pool is made smaller" });
    const object = { ...old, spec: { ...spec, ips: ["172.18.30.131-172.18.30.139"] } };
    const answer = await admission.ask("validate", "spiderippool", { operation: "UPDATE", oldObject: old, object });
    assert.equal(answer.allowed, true);
  });

  it("refuses with 403 to change the spec of a terminating object, and allows removing its finalizer", async () => {
    await using admission = new Admission();
    const metadata = {
      name: "x",
      uid: "u",
      resourceVersion: "1",
      deletionTimestamp: "2026-01-01T00:00:00Z",
      finalizers: ["spiderpool.spidernet.io"],
    };
    const oldObject = { ...pool(), metadata };
    const ask = (object: object) =>
      admission.ask("validate", "spiderippool", { operation: "UPDATE", oldObject, object });
    const { status } = await ask({ ...pool({ disable: true }), metadata });
    assert.deepEqual(
      [status?.code, status?.message],
      [403, 'spiderippools.spiderpool.spidernet.io "x" is forbidden: cannot update a terminating IPPool'],
    );
    assert.equal((await ask({ ...pool(), metadata: { ...metadata, finalizers: [] } })).allowed, true);
  });

  it("with the guard refuses to delete pools and subnets in use, unless they are terminating already", async () => {
    await using admission = new Admission("enableValidatingResourcesDeletedWebhook: true");
    const ask = (kind: string, oldObject: object) =>
      admission.ask("validate", kind, { operation: "DELETE", oldObject });
    const used = admission.api.apply<SpiderIPPool>(spiderIPPools, pool());
    admission.claim("172.18.30.140", used);
    const refused = await ask("spiderippool", used);
    assert.equal(refused.status?.code, 403);
    assert.match(refused.status?.message ?? "", /cannot delete an IPPool with allocated IPs\(1\)$/);
    const going = { ...used, metadata: { ...used.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } };
    assert.equal((await ask("spiderippool", going)).allowed, true);
    admission.release("172.18.30.140");
    assert.equal((await ask("spiderippool", used)).allowed, true);
    const subnet = { metadata: { name: "x" }, spec, status: { allocatedIPCount: 3 } };
    const message = (await ask("spidersubnet", subnet)).status?.message ?? "";
    assert.match(message, /cannot delete an Subnet with allocated IPs\(3\)$/);
    assert.equal((await ask("spidersubnet", { ...subnet, status: {} })).allowed, true);
  });

  it("judges an application's pool by what its subnet has just given it", async () => {
    await using admission = new Admission();
    const metadata = { name: "s" };
    const subnet = admission.api.apply<SpiderSubnet>(spiderSubnets, { metadata, spec });
    await admission.settle();
    admission.api.pauseWatches();
    const status = { controlledIPPools: '{"x":{"ips":["172.18.30.131-172.18.30.132"]}}' };
    admission.api.apply<SpiderSubnet>(spiderSubnets, { ...subnet, status });
    const ask = (ips: readonly string[]) => {
      const sent: Submitted<SpiderIPPool> = { ...pool(), spec: { ...spec, ipVersion: 4, ips } };
      const linked = linkToSubnet(sent, AddressIndex.of([subnet]));
      const labelled = { ...linked.metadata.labels, [labels.ownerApplicationName]: "web" };
      const object = { ...linked, metadata: { ...linked.metadata, labels: labelled } };
      return admission.ask("validate", "spiderippool", { object });
    };
    assert.deepEqual(fields(await ask(["172.18.30.133"])), ["FieldValueForbidden spec.ips"]);
    assert.equal((await ask(["172.18.30.131-172.18.30.132"])).allowed, true);
  });

  it("without the guard never refuses a deletion, and warns of an unwise one", async () => {
    await using admission = new Admission();
    const request = { operation: "DELETE", oldObject: pool({ gateway: "10.0.0.1" }) };
    assert.equal((await admission.ask("validate", "spiderippool", request)).allowed, true);
    const object = {
      metadata: { name: "x", namespace: "n" },
      spec: { cniType: "ovs", ovs: { bridge: "br1" }, disableIPAM: true },
    };
    assert.match(
      (await admission.ask("validate", "spidermultusconfig", { object })).warnings?.join() ?? "",
      /coordinator/,
    );
  });

  it("warns of addresses with which Pods would not be reached, in pools and in subnets", async () => {
    await using admission = new Admission();
    for (const kind of ["spiderippool", "spidersubnet"]) {
      const object = { metadata: { name: "x" }, spec: { ipVersion: 4, subnet: "10.0.0.0/24", ips: ["10.0.0.0"] } };
      const { allowed, warnings = [] } = await admission.ask("validate", kind, { object });
      assert.deepEqual([allowed, warnings.length], [true, 1]);
    }
  });

  it("answers 400 to anything but an AdmissionReview", async () => {
    await using admission = new Admission();
    const route = admission.routes["/validate-spiderpool-spidernet-io-v2beta1-spiderippool"] ?? assert.fail();
    for (const text of ["", "{", "[]", '{"apiVersion":"admission.k8s.io/v1beta1"}']) {
      assert.equal((await route.answer(text, { signal: never })).status, 400);
    }
  });
});

describe("jsonPatch()", () => {
  it("turns any JSON object into any other", () => {
    // The library that applies patches in this test refuses keys that could pollute prototypes.
    const key = fc.string().filter((text) => !["__proto__", "constructor", "prototype"].includes(text));
    const value = fc.letrec((tie) => ({
      value: fc.oneof({ depthSize: "small" }, fc.constant(null), fc.integer(), fc.string(), tie("list"), tie("object")),
      list: fc.array(tie("value"), { maxLength: 3 }),
      object: fc.dictionary(key, tie("value"), { maxKeys: 4 }),
    }));
    const object = fc.dictionary(key, value.value, { maxKeys: 4 });
    fc.assert(
      fc.property(object, object, (a, b) => {
        // As JSON has them: no -0, and objects with a prototype.
        const [before, after] = [JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b))];
        const patched = { object: before };
        applyPatch(patched, [...jsonPatch(patched, { object: after })] as Parameters<typeof applyPatch>[1]);
        assert.deepEqual(patched, { object: after });
      }),
    );
  });
});
