import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { annotations, spiderIPPools, spiderSubnets } from "#api";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { runCtl } from "../testing/run.ts";

const pool = (name: string, spec: object) => ({
  apiVersion: "spiderpool.spidernet.io/v2beta1",
  kind: "SpiderIPPool",
  metadata: { name },
  spec,
});
const good = pool("a", { subnet: "10.6.0.0/16", ips: ["10.6.0.10-10.6.0.20"] });

describe("spiderpoolctl validate", () => {
  const validate = (api: FakeApi, ...manifests: readonly object[]) =>
    runCtl(api, ["validate", "-f", "x.yaml"], {
      "x.yaml": manifests.map((one) => JSON.stringify(one)).join("\n---\n"),
    });

  it("accepts objects that admission accepts", async () => {
    assert.deepEqual(await validate(new FakeApi(), good), { status: 0, out: "spiderippool/a is valid\n", err: "" });
  });

  it("reads YAML as kubectl does: yes and off are no text, times are", async () => {
    const yaml = (name: string, rest: string) => `apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: ${name}, labels: {since: 2026-01-01, at: 12:30:45}}
spec: {subnet: 10.6.0.0/16, ips: [10.6.0.10], ${rest}}
`;
    const of = (text: string) => runCtl(new FakeApi(), ["validate", "-f", "x.yaml"], { "x.yaml": text });
    assert.deepEqual(await of(yaml("a", "default: yes, disable: off")), {
      status: 0,
      out: "spiderippool/a is valid\n",
      err: "",
    });
    const { status, err } = await of(yaml("a", "podAffinity: {matchLabels: {tls: on}}"));
    assert.equal(status, 1);
    assert.match(err, /^spiderippool\/a: spec\.podAffinity\.matchLabels\.tls: Invalid value: "boolean"/);
    assert.match((await of(yaml("off", "default: true"))).err, /metadata\.name/);
  });

  it("says the same to programs and shells", async () => {
    const files = { "x.yaml": JSON.stringify({ ...good, spec: { subnet: 5 } }), "y.yaml": JSON.stringify(good) };
    const { status, out } = await runCtl(new FakeApi(), ["validate", "-f", "x.yaml", "-o", "json"], files);
    const [{ object, valid, problems }] = JSON.parse(out).items;
    assert.deepEqual([status, object, valid, problems[0].field], [1, "spiderippool/a", false, "spec.subnet"]);
    assert.match(problems[0].place, /^x\.yaml, line 1$/);
    const named = await runCtl(new FakeApi(), ["validate", "-f", "y.yaml", "-o", "name"], files);
    assert.equal(named.out, "spiderippool.spiderpool.spidernet.io/a\n");
  });

  it("names every field that breaks a rule, with its value", async () => {
    const { status, err } = await validate(new FakeApi(), pool("a", { subnet: "10.6.0.1/16", ips: ["10.7.0.9"] }));
    assert.equal(status, 1);
    assert.match(err, /^spiderippool\/a: spec\.subnet: Invalid value: "10\.6\.0\.1\/16": unformatted subnet/m);
    assert.match(err, /^spiderippool\/a: spec\.ips/m);
  });

  it("checks against the cluster and earlier manifests, which replace stored objects of the same name", async () => {
    const api = new FakeApi();
    api.apply(spiderIPPools, { metadata: { name: "stored" }, spec: { ...good.spec, ipVersion: 4 } });
    const overlapping = await validate(api, good);
    assert.match(overlapping.err, /stored/);
    assert.equal((await validate(api, pool("stored", good.spec))).status, 0);
    assert.match((await validate(new FakeApi(), good, pool("b", good.spec))).err, /^spiderippool\/b: .*IPPool a/);
  });

  it("checks the kind's schema first, and names file and line, in several documents and in Lists", async () => {
    const file = `# two pools
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: a}
spec:
  subnett: 10.6.0.0/16
  ips:
    - 10.6.0.10
    - 5
  vlan: 3
---
apiVersion: v1
kind: List
items:
  - apiVersion: spiderpool.spidernet.io/v2beta1
    kind: SpiderIPPool
    metadata: {name: b, labels: {tier: 1}}
    spec:
      subnet: 10.7.0.1/16
  - apiVersion: spiderpool.spidernet.io/v2beta1
    kind: SpiderIPPool
    metadata: {name: c}
    spec:
      subnet: 10.7.0.1/16
`;
    const { status, err } = await runCtl(new FakeApi(), ["validate", "-f", "x.yaml"], { "x.yaml": file });
    assert.equal(status, 1);
    const lines = err.trimEnd().split("\n");
    assert.deepEqual(lines.slice(0, 5), [
      "spiderippool/a: spec.subnet: Required value (x.yaml, line 5)",
      'spiderippool/a: spec.subnett: unknown field "subnett": did you mean subnet? (x.yaml, line 6)',
      'spiderippool/a: spec.ips[1]: Invalid value: "integer": spec.ips[1] in body must be of type string: "integer" (x.yaml, line 9)',
      lines[3],
      'spiderippool/b: metadata.labels.tier: Invalid value: "integer": metadata.labels.tier in body must be of type string: "integer" (x.yaml, line 17)',
    ]);
    assert.match(
      lines[3] ?? "",
      /^spiderippool\/a: spec\.vlan: unknown field "vlan": known are .*gateway.* \(x\.yaml, line 10\)$/,
    );
    assert.match(lines[5] ?? "", /^spiderippool\/c: spec\.subnet: Invalid value: .* \(x\.yaml, line 24\)$/);
  });

  it("compares a pool with the subnet of which it would be a part, which one that is being deleted is not", async () => {
    const api = new FakeApi();
    const subnet = { metadata: { name: "s" }, spec: { subnet: "10.6.0.0/16", ips: ["10.6.1.1-10.6.1.9"] } };
    api.apply(spiderSubnets, subnet);
    assert.match((await validate(api, good)).err, /that are not contained in controller Subnet s/);
    const going = { name: "s", deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: ["x"] };
    api.apply(spiderSubnets, { ...subnet, metadata: going });
    assert.equal((await validate(api, good)).err, "");
  });

  it("judges what it knows of an object beside a field that it does not know", async () => {
    const spec = { subnet: "10.6.0.0/16", ips: ["10.6.0.9-10.6.0.1"], vlan: 1 };
    const { err } = await validate(new FakeApi(), pool("a", spec));
    const fields = err
      .trimEnd()
      .split("\n")
      .map((line) => line.split(": ")[1]);
    assert.deepEqual(fields, ["spec.vlan", "spec.ips[0]"]);
  });

  describe("about annotations, with which Pods would not start", () => {
    const deployment = (notes: string) => `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata:
      annotations:
${notes}
    spec: {}
`;
    const said = async (file: string) => {
      const { status, err, out } = await runCtl(new FakeApi(), ["validate", "-f", "x.yaml"], { "x.yaml": file });
      return { status, lines: `${err}${out}`.trimEnd().split("\n") };
    };

    it("names the annotation, what is wrong with it, and its line", async () => {
      const notes = [
        `        ipam.spidernet.io/ippool: '{"ipv4":"a"}'`,
        `        ipam.spidernet.io/ippools: '[{"interface":"eth0"},{"ipv4":["a"]}]'`,
        `        ipam.spidernet.io/routes: '[{"dst":"10.0.0.0/8","gw":"fd00::1"}]'`,
        `        ipam.spidernet.io/subnet: '{"ipv4":["s"]}'`,
        "        ipam.spidernet.io/ippool-ip-number: 3",
        "        ipam.spidernet.io/ipool: '{}'",
        `        k8s.v1.cni.cncf.io/networks: '["a"'`,
        "        v1.multus-cni.io/default-network: a,b",
      ];
      const { status, lines } = await said(deployment(notes.join("\n")));
      assert.equal(status, 1);
      const at = "deployment/web: spec.template.metadata.annotations";
      const expected = [
        /\[ipam\.spidernet\.io\/ippool-ip-number\]: 3 is no text: put it in quotation marks \(x\.yaml, line 12\)$/,
        /\[ipam\.spidernet\.io\/ipool\]: nobody reads this annotation: did you mean ipam\.spidernet\.io\/ippool\? \(x\.yaml, line 13\)$/,
        /\/ippool\]: wrong input, .* value\.ipv4 must be a list, found "a"; .* \(x\.yaml, line 8\)$/,
        /\/ippools\]: wrong input, .* NIC should be either all specified or all unspecified; .* \(x\.yaml, line 9\)$/,
        /\/routes\]: wrong input, .* invalid route format in \[0\], .* \(x\.yaml, line 10\)$/,
        /\/networks\]: .* \(x\.yaml, line 14\)$/,
        /\/default-network\]: .*2 networks.* \(x\.yaml, line 15\)$/,
      ];
      assert.equal(lines.length, expected.length, lines.join("\n"));
      for (const [index, line] of lines.entries()) {
        assert.ok(line.startsWith(at), line);
        assert.match(line, expected[index] ?? /^$/);
      }
    });

    it("finds a pool that a NIC's list names twice", async () => {
      const notes = [
        `        ipam.spidernet.io/ippool: '{"ipv4":["a","b","a"]}'`,
        `        ipam.spidernet.io/ippools: '[{"ipv4":["a"]},{"ipv4":["a"],"ipv6":["c","c"]}]'`,
      ];
      const pools = { [annotations.defaultIpv4Pools]: '["a"]', [annotations.defaultIpv6Pools]: '["a","a"]' };
      const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "n", annotations: pools } };
      const { status, lines } = await said(`${deployment(notes.join("\n"))}---\n${JSON.stringify(namespace)}`);
      assert.equal(status, 1);
      const [first = "", second = "", third = "", ...more] = lines;
      assert.match(
        first,
        /\/ippool\]: wrong input, duplicate IPPool a specified for NIC eth0\. .* \(x\.yaml, line 8\)$/,
      );
      assert.match(
        second,
        /\/ippools\]: wrong input, duplicate IPPool c specified for NIC net1\. .* \(x\.yaml, line 9\)$/,
      );
      assert.match(third, /^namespace\/n: .*ipv6-ippool\]: wrong input, duplicate IPPool a specified for NIC eth0/);
      assert.deepEqual(more, []);
    });

    it("accepts what is right, in Pods, templates of every kind, and Namespaces", async () => {
      const notes = { [annotations.ippool]: '{"ipv4":["a*"]}', [annotations.networks]: "net, other/net@data" };
      const template = { metadata: { annotations: notes } };
      const files = [
        { apiVersion: "v1", kind: "Pod", metadata: { name: "p", annotations: notes } },
        {
          apiVersion: "batch/v1",
          kind: "CronJob",
          metadata: { name: "c" },
          spec: { jobTemplate: { spec: { template } } },
        },
        { apiVersion: "apps/v1", kind: "StatefulSet", metadata: { name: "s" }, spec: { template } },
        { apiVersion: "v1", kind: "Service", metadata: { name: "x" } },
        {
          apiVersion: "v1",
          kind: "Namespace",
          metadata: { name: "n", annotations: { [annotations.defaultIpv4Pools]: '["a"]' } },
        },
      ];
      const file = files.map((one) => JSON.stringify(one)).join("\n---\n");
      const { status, lines } = await said(file);
      const right = ["pod/p", "cronjob/c", "statefulset/s", "namespace/n"];
      assert.deepEqual({ status, lines }, { status: 0, lines: right.map((name) => `${name} is valid`) });
      const named = await runCtl(new FakeApi(), ["validate", "-f", "x.yaml", "-o", "name"], { "x.yaml": file });
      assert.match(named.out, /^pod\/p\ncronjob\.batch\/c\nstatefulset\.apps\/s\nnamespace\/n\n$/);
      const wrong = { ...files[4], metadata: { name: "n", annotations: { [annotations.defaultIpv6Pools]: "a" } } };
      assert.match(
        (await said(JSON.stringify(wrong))).lines[0] ?? "",
        /^namespace\/n: metadata\.annotations\[.*-ipv6-.* it is not JSON/,
      );
    });
  });

  it("refuses a file without objects of ours", async () => {
    const { status, err } = await validate(new FakeApi(), { ...good, kind: "SpiderPool" });
    assert.equal(status, 1);
    assert.match(err, /kind: Unsupported value: "SpiderPool"/);
    assert.equal((await validate(new FakeApi(), { kind: "Pod", apiVersion: "v1", metadata: {} })).status, 2);
    assert.equal((await runCtl(new FakeApi(), ["validate", "-f", "x"], { x: "a: [" })).status, 2);
  });
});
