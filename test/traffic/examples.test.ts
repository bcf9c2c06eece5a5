import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { parseAllDocuments } from "yaml";
import { type Kind, kinds } from "./kinds.ts";

for (const example of ["ovs/network", "macvlan/macvlan", "ipvlan/ipvlan", "vlan/vlan"]) {
  it(`the network of examples/${example}.yaml is one of those whose traffic is tried, whatever this machine's kernel lacks`, () => {
    const manifests = readFileSync(new URL(`../../examples/${example}.yaml`, import.meta.url), "utf8");
    const [network] = parseAllDocuments(manifests)
      .map((document): { readonly kind?: string; readonly spec: { readonly cniType: string } } => document.toJS())
      .filter(({ kind }) => kind === "SpiderMultusConfig");
    const { cniType = "" } = network?.spec ?? {};
    const block = (spec: object) => {
      const { ippools: _, ...own } =
        (spec as Readonly<Record<string, object & { readonly ippools?: unknown }>>)[cniType] ?? {};
      return JSON.stringify(own);
    };
    const tried = (Object.values(kinds).flat() as readonly Kind[]).map(({ spec, vlan }) => spec(vlan));
    const same = tried.filter((spec) => spec.cniType === cniType && block(spec) === block(network?.spec ?? {}));
    assert.ok(same.length > 0, block(network?.spec ?? {}));
  });
}
