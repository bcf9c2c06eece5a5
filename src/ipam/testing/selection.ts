import assert from "node:assert/strict";
import { labels } from "#api";
import { annotationKeys } from "../annotations.ts";
import { type PoolObject, type PoolView, poolView } from "../pool.ts";
import type { Decision, SelectionInput } from "../select.ts";

export type Spec = Partial<PoolObject["spec"]>;

export function pool4(name: string, spec: Spec = {}, metadata: Partial<PoolObject["metadata"]> = {}): PoolView {
  return poolView({ metadata: { name, ...metadata }, spec: { subnet: "10.6.0.0/16", ips: ["10.6.0.1"], ...spec } });
}

export function pool6(name: string, spec: Spec = {}): PoolView {
  return pool4(name, { subnet: "fd00::/64", ips: ["fd00::1"], ...spec });
}

export const noPools = { 4: [], 6: [] };

/** The labels of the pool that was made for eth0 of Deployment `default/web` from SpiderSubnet s4. */
export function madeFor(more: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  return { [labels.ownerApplicationUid]: "uid-web", [labels.interface]: "eth0", [labels.ownerSubnet]: "s4", ...more };
}

/** A dual-stack Pod `default/web-0` on node n1, eth0, with nothing said anywhere. */
export function input(pools: readonly PoolView[], change: Partial<SelectionInput> = {}): SelectionInput {
  return {
    nic: "eth0",
    slot: undefined,
    families: [4, 6],
    pod: { namespace: "default", name: "web-0", uid: "u", labels: { app: "web" }, annotations: {}, nodeName: "n1" },
    namespace: { name: "default", labels: { team: "a" }, annotations: {} },
    node: { name: "n1", labels: { zone: "z1" } },
    owner: {
      apiGroup: "apps",
      apiVersion: "v1",
      kind: "Deployment",
      namespace: "default",
      name: "web",
      uid: "uid-web",
    },
    pools: new Map(pools.map((pool) => [pool.name, pool])),
    brokenPools: new Map(),
    network: { pools: noPools, cleanGateway: false },
    netAttachDef: undefined,
    agentNamespace: "spiderpool",
    masterAddresses: undefined,
    settings: { enableSpiderSubnet: true, enableAutoPoolForApplication: true },
    ...change,
  };
}

export function withPod(given: SelectionInput, annotations: Readonly<Record<string, string>>): SelectionInput {
  return { ...given, pod: { ...given.pod, annotations } };
}

/** `{"ippool": …}` of the names given. */
export function ippool(...names: readonly string[]): Readonly<Record<string, string>> {
  return { [annotationKeys.ippool]: JSON.stringify({ ipv4: names }) };
}

export function candidates([decision]: readonly Decision[]): readonly string[] {
  assert.equal(decision?.outcome.kind, "candidates", decision && formatRefusal(decision));
  return decision.outcome.kind === "candidates" ? decision.outcome.pools : [];
}

export function refusedWith(decisions: readonly Decision[], code: string, message: RegExp): void {
  const [decision] = decisions.filter(({ outcome }) => outcome.kind === "refused");
  assert.equal(decision?.outcome.kind, "refused");
  if (decision.outcome.kind !== "refused") return;
  assert.equal(decision.outcome.code, code);
  assert.match(decision.outcome.message, message);
  assert.notEqual(decision.outcome.fix, "");
  assert.equal(formatRefusal(decision), `${decision.outcome.message}. What to do: ${decision.outcome.fix}`);
}

/** A refused selection as people read it: what is wrong, then what to do. Undefined for a decision with candidates. */
export function formatRefusal({ outcome }: Decision): string | undefined {
  return outcome.kind === "refused" ? `${outcome.message}. What to do: ${outcome.fix}` : undefined;
}
