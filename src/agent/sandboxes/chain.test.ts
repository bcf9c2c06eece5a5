import assert from "node:assert/strict";
import { it } from "node:test";
import { never, Steps, systemClock } from "#base";
import { emptyResult, type PluginConfig } from "#cni";
import type { Plugin } from "#plugins";
import { Chain } from "./chain.ts";
import { ForeignPlugins, ipamTypeOf } from "./foreign.ts";

/** Plugins that do nothing; each wants these interfaces along with the first one's. */
function chainOf(pairs: Readonly<Record<string, readonly string[]>>): {
  readonly chain: Chain;
  readonly ran: string[];
} {
  const ran: string[] = [];
  const plugins = Object.entries(pairs).map(([type, names]) => ({
    type,
    versions: ["1.0.0"],
    decode: (config: PluginConfig) => config,
    pairs: async () => names.map((name) => ({ name, pod: { name: "veth0" } })),
    add: async () => {
      ran.push(type);
      return emptyResult;
    },
    check: async () => {},
    del: async () => {},
  }));
  return { chain: new Chain(plugins as unknown as readonly Plugin<unknown>[], new ForeignPlugins()), ran };
}

function network(...types: readonly string[]) {
  return {
    ...{ cniVersion: "1.0.0", name: "n", disableCheck: false, disableGc: false },
    plugins: types.map((type) => ({ type, raw: { type } })),
  } as unknown as Parameters<Chain["add"]>[0];
}

const call = { attachment: { ifName: "eth0" }, capabilityArgs: {} } as unknown as Parameters<Chain["add"]>[1];

it("a list with two plugins that make the same interface is refused, before anything is made", async () => {
  const { chain, ran } = chainOf({ ovs: [], coordinator: ["veth1"] });
  const steps = () => new Steps({ clock: systemClock, signal: never });
  await chain.add(network("ovs", "coordinator"), call, steps(), undefined);
  assert.deepEqual(ran.splice(0), ["ovs", "coordinator"]);
  await assert.rejects(chain.add(network("ovs", "coordinator", "coordinator"), call, steps(), undefined), {
    cniCode: 7,
    message: "two plugins of the network make the same interface",
    details: {
      interface: "veth1",
      plugins: "coordinator, coordinator",
      fix: "leave one of them in the network's list of plugins",
    },
  });
  assert.deepEqual(ran, []);
});

for (const type of ["multus", "spiderpool"]) {
  it(`a network that names ${type} as its plugin is refused at once`, async () => {
    const { chain } = chainOf({ ovs: [] });
    const verify = (...types: readonly string[]) =>
      chain.verify(network(...types), call, {} as Parameters<Chain["verify"]>[2], undefined, { signal: never });
    await verify("ovs");
    await assert.rejects(verify("ovs", type), { cniCode: 7, message: "a plugin of the network makes no interface" });
  });
}

it("an ipam block that is none, or names no type, is refused by its own field", () => {
  for (const none of [undefined, null, {}]) assert.equal(ipamTypeOf({ ipam: none }), undefined);
  for (const [ipam, field] of [
    ["spiderpool", "ipam"],
    [[], "ipam"],
    [{ subnet: "10.0.0.0/24" }, "ipam.type"],
    [{ type: "../sh" }, "ipam.type"],
  ] as const) {
    assert.throws(
      () => ipamTypeOf({ ipam }),
      (error: { readonly details?: { readonly field?: string } }) => error.details?.field === field,
      JSON.stringify(ipam),
    );
  }
});
