import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { isTakeOver, annotations as keys, spiderIPPools } from "#api";
import { customResourceDefinitions, daemonSets } from "#kube";
import { extended, updateKinds } from "./crds.ts";
import { prepare } from "./prepare.ts";
import { kind, world } from "./testing/world.ts";

const folder = mkdtempSync(join(tmpdir(), "spiderpool-init-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const { ledgerClosed } = keys;

describe("updateKinds()", () => {
  it("extends ours, takes nothing away, and leaves a foreign kind alone", async () => {
    const { api, deps, said, finish, o } = world();
    const properties = (...names: readonly string[]) => ({
      openAPIV3Schema: { properties: { spec: { properties: Object.fromEntries(names.map((name) => [name, {}])) } } },
    });
    api.apply(customResourceDefinitions, kind("spiderippools", undefined, properties("old", "both")));
    const foreign = api.apply(
      customResourceDefinitions,
      kind("network-attachment-definitions", "k8s.cni.cncf.io", properties("theirs")),
    );
    const directory = mkdtempSync(join(folder, "crds-"));
    const next = [
      kind("spiderippools", undefined, properties("both", "new")),
      kind("network-attachment-definitions", "k8s.cni.cncf.io", properties("ours")),
    ];
    for (const [index, crd] of next.entries()) writeFileSync(join(directory, `${index}.yaml`), JSON.stringify(crd));
    await finish(updateKinds(directory, deps, o));
    const stored = JSON.stringify(
      api.read(customResourceDefinitions, { name: "spiderippools.spiderpool.spidernet.io" })?.spec,
    );
    for (const name of ["old", "both", "new"]) assert.ok(stored.includes(`"${name}"`), `${name} in ${stored}`);
    assert.deepEqual(api.read(customResourceDefinitions, foreign.metadata), foreign);
    await finish(updateKinds(directory, deps, o));
    assert.equal(said.at(-2), "spiderippools.spiderpool.spidernet.io: is up to date");
  });

  it("keeps a version that only the existing kind has, no longer stored", () => {
    const before = kind("spiderippools");
    const old = { ...before, spec: { ...before.spec, versions: [{ name: "v1", served: true, storage: true }] } };
    assert.deepEqual(
      extended(old, before).spec.versions.map((version) => [version.name, version["storage"]]),
      [
        ["v2beta1", true],
        ["v1", false],
      ],
    );
  });
});

describe("prepare()", () => {
  it("closes existing pools if there was no ledger, or agents of another system; those of a lost ledger stay unchanged", async () => {
    const { api, deps, finish, o } = world();
    api.apply(customResourceDefinitions, kind("spiderippools"));
    const pools = ["a", "b"].map((name) =>
      api.apply(spiderIPPools, { metadata: { name }, spec: { subnet: "10.6.0.0/16" } }),
    );
    const directory = mkdtempSync(join(folder, "crds-"));
    for (const plural of ["spiderippools", "spideripaddresses"]) {
      writeFileSync(join(directory, `${plural}.yaml`), JSON.stringify(kind(plural)));
    }
    const closed = () =>
      pools.map(({ metadata }) => api.read(spiderIPPools, metadata)?.metadata.annotations?.[ledgerClosed]);
    const options = { command: "crds", kubeconfig: undefined, crds: directory, agents: undefined } as const;
    // Serves a new kind, as an API server does.
    const establish = () => {
      const made = api.read(customResourceDefinitions, { name: "spideripaddresses.spiderpool.spidernet.io" });
      if (made !== undefined && made.status === undefined)
        api.apply(customResourceDefinitions, {
          ...kind("spideripaddresses"),
          ...made,
          status: kind("spideripaddresses").status,
        });
    };
    await finish(prepare(options, deps, o), establish);
    assert.ok(closed().every(isTakeOver), String(closed()));
    const opened = { [ledgerClosed]: "lost" };
    for (const pool of pools) api.apply(spiderIPPools, { ...pool, metadata: { ...pool.metadata, annotations: {} } });
    await finish(prepare(options, deps, o));
    assert.deepEqual(closed(), [undefined, undefined], "there is a ledger");
    const [first = assert.fail()] = pools;
    api.apply(spiderIPPools, { ...first, metadata: { ...first.metadata, annotations: opened } });
    const agents = { namespace: "kube-system", name: "spiderpool-agent" };
    const withAnnotations = (annotations: Readonly<Record<string, string>>) =>
      api.apply(daemonSets, { metadata: agents, spec: { template: { metadata: { annotations } } } });
    withAnnotations({ "checksum/config": "1" });
    await finish(prepare({ ...options, agents }, deps, o));
    assert.deepEqual(closed(), ["lost", undefined], "agents of this chart keep the ledger");
    withAnnotations({});
    await finish(prepare({ ...options, agents }, deps, o));
    const [lost, taken] = closed();
    assert.deepEqual([lost, isTakeOver(taken)], ["lost", true]);
    await finish(prepare({ ...options, agents: { ...agents, name: "absent" } }, deps, o));
    const [, second] = closed();
    assert.deepEqual([isTakeOver(second), second === taken], [true, false], "an earlier take-over is made anew");
  });
});
