import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";
import type { JsonObject } from "#base";
import { type PluginConfig, supportedVersions, versionHas } from "#cni";
import { createNetns, deleteNetns, openNetns } from "#linux";
import type { Plugin } from "#plugins";
import { ipamTypeOf } from "../../src/agent/sandboxes/foreign.ts";
import { type Answer, TestRuntime } from "../../src/agent/testing/runtime.ts";
import { until } from "../../src/base/testing/until.ts";
import { StubIpam } from "../../src/plugins/testing/stub-ipam.ts";
import type { Feature } from "../traffic/kinds.ts";
import { featuresOf } from "../traffic/net.ts";

/** A network of the suite: the plugins of its list, in order. */
export interface VerbsCase {
  readonly title: string;
  /** What the node's kernel needs, beyond what every kernel has. */
  readonly needs?: readonly Feature[];
  readonly plugins: readonly JsonObject[];
  /** Calls do not fail on purpose: another case reaches the same stages. */
  readonly versionsOnly?: true;
}

/** The node on which the networks are made. */
interface VerbsNode {
  readonly plugins: readonly Plugin<never>[];
  /** All that a plugin may change outside the Pod. */
  readonly state: () => readonly string[];
}

/** Gives every Pod the same two addresses. */
const ipam = new StubIpam(["10.10.0.5/24", "fd00::5/64"]);
/** The IPAM of configurations that have an `ipam` block. */
export const ipamFor = ({ raw }: PluginConfig) => (ipamTypeOf(raw) === undefined ? undefined : ipam);

const netns = "/run/netns/pod";
/** An addition that fails here is undone; the deletion that fails here is repeated by the runtime. */
type Verb = "ADD" | "DEL";

/**
 * What the CNI specification demands of every plugin, tried for each network through the real shim, as a container runtime
 * calls it: each verb in each version, DEL as often as the runtime likes, and an ADD or DEL that fails at any of its stages.
 * To be called in an isolated test file.
 */
export function verbsSuite(title: string, cases: readonly VerbsCase[], node: VerbsNode): void {
  /** Stages in the order in which they were reached, and the one at which the next call fails. */
  const stages: Readonly<Record<Verb, Set<string>>> = { ADD: new Set(), DEL: new Set() };
  let failing: `${Verb} ${string}` | undefined;
  let runtime: TestRuntime;
  const has = featuresOf();

  const failPoint = (verb: string, point: string) => {
    if (verb === "ADD" || verb === "DEL") stages[verb].add(point);
    if (`${verb} ${point}` === failing) throw new Error(`failed at ${point}`);
  };
  const config = (cniVersion: string) => ({
    cniVersion,
    name: "multus-cni-network",
    type: "multus",
    clusterNetwork: "main",
    capabilities: { portMappings: true },
  });
  const call = (verb: string, cniVersion = "1.1.0") => runtime.call(verb, { config: config(cniVersion) });
  async function succeed(verb: string, cniVersion?: string): Promise<Answer> {
    const answer = await call(verb, cniVersion);
    assert.equal(answer.code, 0, `${verb} ${cniVersion}: ${answer.stdout}`);
    return answer;
  }
  /** The node's state when no Pod has a link any more. */
  const settled = () => until("no Pod's link", node.state, (now) => now.every((line) => !line.startsWith("link veth")));
  /** Outside the Pod as before, no record, no address; inside loopback alone. */
  async function assertNothingLeft(before: readonly string[], when: string): Promise<void> {
    // Links go after the answer.
    await until(`the state before: ${when}`, node.state, (now) => isDeepStrictEqual(now, before));
    assert.deepEqual([runtime.records.list().length, ipam.held.size], [0, 0], when);
    using pod = openNetns(netns);
    const inside = () => pod.rtnl.links().map(({ name }) => name);
    await until(`loopback alone in the Pod: ${when}`, inside, (now) => isDeepStrictEqual(now, ["lo"]));
  }

  describe(title, { timeout: 240_000 }, () => {
    before(async () => {
      runtime = await TestRuntime.start({ plugins: node.plugins, ipamFor, more: { failPoint } });
      createNetns(netns)[Symbol.dispose]();
    });
    after(async () => {
      await runtime[Symbol.asyncDispose]();
      deleteNetns(netns);
    });
    afterEach(() => {
      failing = undefined;
    });

    for (const { title: network, plugins, needs = [], versionsOnly } of cases) {
      const lacking = needs.filter((feature) => !has.has(feature));
      const skip =
        lacking.length > 0 && `this kernel has no ${lacking.join(", ")}: test/uml.test.ts runs it in one that has`;
      const use = (cniVersion: string) =>
        runtime.nads.set("kube-system/main", { cniVersion, name: "main", plugins: [...plugins] });

      describe(network, { skip }, () => {
        it("every verb in every CNI version, DEL twice and after the namespace", async () => {
          use("1.1.0");
          // What is made once for all Pods, and stays.
          await succeed("ADD");
          await succeed("DEL");
          const before = await settled();
          for (const cniVersion of supportedVersions) {
            use(cniVersion);
            const { json } = await succeed("ADD", cniVersion);
            assert.equal(json.cniVersion, cniVersion);
            const checked = await call("CHECK", cniVersion);
            const mayCheck = versionHas(cniVersion, "CHECK");
            assert.deepEqual([checked.code, checked.json?.code], mayCheck ? [0, undefined] : [1, 1], checked.stdout);
            for (const verb of ["STATUS", "GC"]) {
              // GC by an empty list spares what has its namespace.
              const answer = await call(verb, cniVersion);
              const hasVerb = cniVersion === "1.1.0";
              assert.deepEqual([answer.code, answer.json?.code], hasVerb ? [0, undefined] : [1, 1], answer.stdout);
            }
            for (const times of ["once", "twice"]) {
              assert.equal((await succeed("DEL", cniVersion)).stdout, "");
              await assertNothingLeft(before, `${cniVersion}, deleted ${times}`);
            }
            await succeed("ADD", cniVersion);
            deleteNetns(netns);
            await runtime.succeed("DEL", { config: config(cniVersion), netns: "" });
            await succeed("DEL", cniVersion);
            createNetns(netns)[Symbol.dispose]();
            await assertNothingLeft(before, `${cniVersion}, deleted after its namespace`);
          }
        });

        if (versionsOnly) return;
        it("an ADD that fails at any stage leaves nothing, and a DEL that does is finished by the next", async () => {
          use("1.1.0");
          const before = await settled();
          for (const reached of Object.values(stages)) reached.clear();
          await succeed("ADD");
          await succeed("DEL");
          const [adding, deleting] = [[...stages.ADD], [...stages.DEL]];
          assert.ok(adding.length > 0 && deleting.length > 0, "no stage was seen");
          for (const point of adding) {
            failing = `ADD ${point}`;
            const answer = await call("ADD");
            assert.equal(answer.code, 1, `${point}: ${answer.stdout}`);
            assert.match(answer.stdout, new RegExp(`failed at ${point}`));
            await assertNothingLeft(before, `ADD failed at ${point}`);
          }
          for (const point of deleting) {
            failing = undefined;
            await succeed("ADD");
            failing = `DEL ${point}`;
            const answer = await call("DEL");
            assert.equal(answer.code, 1, `${point}: ${answer.stdout}`);
            failing = undefined;
            await succeed("DEL");
            await assertNothingLeft(before, `DEL failed at ${point}`);
          }
        });
      });
    }
  });
}
