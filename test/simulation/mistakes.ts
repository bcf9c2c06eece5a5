import type { Focus } from "./random-history.ts";

/** A mistake that the simulation must find: texts of the product's source that are replaced when it is loaded. */
export interface Mistake {
  readonly name: string;
  readonly edits: readonly { readonly file: string; readonly find: string; readonly put: string }[];
  /** What happens more often, so that it is found soon. */
  readonly focus: Focus;
}

/** Each of these the simulation must find. */
export const mistakes: readonly Mistake[] = [
  {
    name: "a create whose answer was lost is not repeated with the same name",
    edits: [
      {
        file: "src/ledger/claims/writes.ts",
        find: "if (!surelyUnchanged(error)) {",
        put: 'return { kind: "foreign" };\n        if (!surelyUnchanged(error)) {',
      },
    ],
    focus: ["create", "fault"],
  },
  {
    name: "a claim is mine whichever NIC it is for",
    edits: [
      { file: "src/ledger/claims/claim.ts", find: "{nic}.$", put: "{''}.$" },
      {
        file: "src/ledger/claims/claim.ts",
        find: "spec.podUID === holder.pod.uid && spec.nic === holder.nic",
        put: "spec.podUID === holder.pod.uid",
      },
    ],
    focus: ["create"],
  },
  {
    name: "two sandboxes of one Pod claim at the same time",
    edits: [
      {
        file: "src/ledger/node/ledger.ts",
        find: "this.#keys.run(key, () => this.#claim(key, request, o), o);",
        put: "this.#claim(key, request, o);",
      },
    ],
    focus: ["second-sandboxes"],
  },
  {
    name: "a claim passes to another sandbox without a write",
    edits: [
      {
        file: "src/ledger/claims/writes.ts",
        find: "if (spec === undefined || spec === claim.spec) return spec && claim;",
        put: "if (spec !== undefined && spec.purpose === claim.spec.purpose) return { ...claim, spec };\n    if (spec === undefined || spec === claim.spec) return spec && claim;",
      },
    ],
    focus: ["create", "crash", "delete", "trap-agent", "fault", "second-sandbox"],
  },
  {
    name: "a pool's finalizer goes by the view",
    edits: [
      {
        file: "src/controller/pools/drain.ts",
        find: "if (nowMs < settledMs - apartMs) return { waitMs: settledMs - apartMs - nowMs, isUsed: false };",
        put: "if (nowMs >= 0) return { waitMs: 0, isUsed: false };",
      },
    ],
    focus: ["pool-delete-unseen", "pool-create"],
  },
  {
    name: "a static Pod is gone when its mirror is",
    edits: [
      {
        file: "src/agent/cluster/pods.ts",
        find: 'isStaticPodUid(uid) && !isReplaced ? "unknown" : "dead"',
        put: '"dead"',
      },
      {
        file: "src/agent/addresses/claims.ts",
        find: "if (this.hasSandbox(podUid)) {",
        put: "if (pod !== undefined && this.hasSandbox(podUid)) {",
      },
    ],
    focus: ["create", "lose-mirror", "crash"],
  },
  {
    name: "a release has no preconditions",
    edits: [
      {
        file: "src/ledger/node/releases.ts",
        find: "preconditions: { uid, resourceVersion }",
        put: "preconditions: {}",
      },
    ],
    focus: [],
  },
  {
    name: "a release that came too late is repeated as it was",
    edits: [
      {
        file: "src/ledger/node/releases.ts",
        find: "      pending.claim = now;\n      throw error;",
        put: "      throw error;",
      },
    ],
    focus: ["create", "delete", "claim-edit"],
  },
  {
    name: "what a silent node holds is released",
    edits: [
      {
        file: "src/controller/collector/decide.ts",
        find: 'return act("quarantine", "the Pod has ended and its node cannot say',
        put: 'return act("release", "the Pod has ended and its node cannot say',
      },
    ],
    focus: ["create", "delete", "partition", "reboot"],
  },
  {
    name: "an address that was met as taken is never forgotten",
    edits: [
      { file: "src/ipam/choice.ts", find: "if (nowMs - atMs < metMsMax) return;", put: "if (nowMs >= atMs) return;" },
      {
        file: "src/ipam/choice.ts",
        find: "this.#met = this.#released;\n    this.#metAtMs.clear();\n    this.#rebuild();",
        put: "this.#rebuild();",
      },
    ],
    focus: ["rush"],
  },
  {
    name: "the address of a StatefulSet's Pod goes with the Pod",
    edits: [
      {
        file: "src/ledger/node/releases.ts",
        find: 'pending.ending === "detach" && (await isIndexed(claim, o)) ? "detach" : "delete"',
        put: '(await isIndexed(claim, o)) ? ("delete" as Ending) : "delete"',
      },
    ],
    focus: ["stateful"],
  },
  {
    name: "the target of a live migration takes the address that the source has",
    edits: [
      {
        file: "src/ledger/node/kept.ts",
        find: "if (claim.spec.node === undefined) return claim;",
        put: "return claim;",
      },
    ],
    focus: ["virtual"],
  },
  {
    name: "a sticky address is collected although its StatefulSet wants it",
    edits: [
      {
        file: "src/controller/collector/decide.ts",
        find: 'if (sticky === undefined || sticky.owner.kind !== "invalid")',
        put: "if (sticky === undefined)",
      },
    ],
    focus: ["manager-away"],
  },
  {
    name: "an address for which a foreign host answered is not set aside",
    edits: [
      {
        file: "src/agent/addresses/ipam.ts",
        find: "(o) => ledger.quarantine(claim, { mac, until }, o)",
        put: '() => [mac, until, ledger.release(claim, { why: "conflict", evidence: [] })]',
      },
    ],
    focus: ["foreign", "crash"],
  },
  {
    name: "a Pod that is back does not look for the claim that is back with it",
    edits: [
      {
        file: "src/agent/addresses/ipam.ts",
        find: "await ledger.verify(claimName(ip), uid, o);",
        put: "claimName(ip);",
      },
    ],
    focus: ["create", "rewind"],
  },
  {
    name: "the pool of an application loses addresses that nobody holds",
    edits: [
      {
        file: "src/ipam/subnets/plan.ts",
        find: "const open = dropping.subtract(held);",
        put: "const open = dropping.subtract(dropping);",
      },
    ],
    focus: ["app", "app-restart", "part-lag"],
  },
  {
    name: "what was held for a pool that became smaller is never let go",
    edits: [
      {
        file: "src/ipam/subnets/plan.ts",
        find: 'if (!over.isEmpty) this.#actions.push({ kind: "unhold", pool, ips: over });',
        put: "over.isEmpty;",
      },
      {
        file: "src/controller/subnets/holds.ts",
        find: "const holdMs = 300_000;",
        put: "const holdMs = 300_000_000;",
      },
      { file: "src/controller/collector/decide.ts", find: "untilMs: 600_000,", put: "untilMs: 600_000_000," },
    ],
    focus: ["app", "part-lag"],
  },
  {
    name: "addresses that were met as taken are tried again",
    edits: [
      { file: "src/ipam/choice.ts", find: "this.#met = this.#met.add(ip);", put: "this.#metAtMs.clear();" },
      { file: "src/ledger/node/ledger.ts", find: "const missesMax = 8;", put: "const missesMax = 8_000;" },
    ],
    focus: ["burst", "delete", "lag"],
  },
  {
    name: "a claim is the Pod's for whichever family it was asked for",
    edits: [
      {
        file: "src/ledger/claims/claim.ts",
        find: "nic: string, family: Family): string {",
        put: "nic: string, family: Family): string {\n  family = 4;",
      },
    ],
    focus: ["create", "dual-stack"],
  },
  {
    name: "what a node holds is released as soon as its object is gone",
    edits: [
      {
        file: "src/controller/collector/decide.ts",
        find: "nodeAbsentMs: 300_000,",
        put: "nodeAbsentMs: 0,",
      },
      {
        file: "src/controller/collector/facts.ts",
        find: "if (pod === undefined) return gone;",
        put: "if (pod === undefined || graceSDefault > 0) return gone;",
      },
    ],
    focus: ["create", "node-anew"],
  },
  {
    name: "a Pod whose address was given to another is left on the network",
    edits: [
      {
        file: "src/agent/addresses/returned.ts",
        find: "    cut(record);\n    const message",
        put: "    const message",
      },
    ],
    focus: ["create", "claim-delete"],
  },
];
