import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { silentLogger } from "#base";
import type { PluginConfig } from "#cni";
import { createNetns, deleteNetns, hostNetns } from "#linux";
import { createCoordinatorPlugin, createOvsPlugin, type Plugin } from "#plugins";
import { ForeignIpam } from "../../src/agent/addresses/foreign-ipam.ts";
import { ipamTypeOf } from "../../src/agent/sandboxes/foreign.ts";
import { podNetns, type TestCall, TestRuntime } from "../../src/agent/testing/runtime.ts";
import { type OvsNode, startOvsNode } from "../../src/plugins/testing/ovs-node.ts";

const hostLocal = { type: "host-local", dataDir: "/run/host-local", ranges: [[{ subnet: "10.1.0.0/16" }]] };
const cluster = { mode: "underlay" as const, overlayPodCIDR: ["10.233.64.0/18"], serviceCIDR: ["10.233.0.0/18"] };

/** The `ipam` block of networks whose Pods get addresses of 10.1.0.0/16, and a default route. */
export const ipam = { ...hostLocal, routes: [{ dst: "0.0.0.0/0" }] };

/** {@link CniNode.state} where nothing of any call is left. */
export const nothing = { ports: "", records: 0, leases: 0 };

/** A node with a bridge br1, and our executables on it as a container runtime finds them. Its network `kube-system/main` is of ovs. */
export class CniNode implements AsyncDisposable {
  readonly runtime: TestRuntime;
  /** What the agent logged. */
  readonly logged: readonly string[];
  readonly #ovsNode: OvsNode;

  private constructor(runtime: TestRuntime, ovsNode: OvsNode, logged: readonly string[]) {
    this.runtime = runtime;
    this.#ovsNode = ovsNode;
    this.logged = logged;
  }

  /** To be called in an isolated test file. */
  static async start(): Promise<CniNode> {
    const ovsNode = startOvsNode();
    const { ovs, tasks } = ovsNode;
    const host = hostNetns();
    const logged: string[] = [];
    const log = {
      ...silentLogger,
      debug: (_fields: object, message: string) => void logged.push(message),
      info: (fields: object, message: string) => void logged.push(`${message}: ${JSON.stringify(fields)}`),
    };
    const plugins = [
      createOvsPlugin({ host, ovsFor: () => ovs, ipamFor, tasks, flatFiles: [] }),
      createCoordinatorPlugin({ host, tasks, clusterConfig: async () => cluster }),
    ] as unknown as readonly Plugin<never>[];
    const runtime = await TestRuntime.start({ plugins, ipamFor, more: { log } });
    runtime.network("kube-system/main", { type: "ovs", bridge: "br1", ipam });
    return new CniNode(runtime, ovsNode, logged);
  }

  /** Calls, and returns the error that must be the answer. */
  async fail(verb: string, call: TestCall = {}): Promise<{ code: number; msg: string; details?: string }> {
    const answer = await this.runtime.call(verb, call);
    assert.equal(answer.code, 1, `${answer.code} ${answer.stdout}`);
    assert.equal(answer.json.cniVersion !== undefined, true, "an error says its version");
    return answer.json;
  }

  /** What calls have left: ports of the bridge, sandboxes on record, addresses that are given away. */
  state() {
    const leases = "/run/host-local/main";
    return {
      ports: this.#ovsNode.real.vsctl("list-ports", "br1"),
      records: this.runtime.records.list().length,
      leases: existsSync(leases) ? readdirSync(leases).filter((name) => /^\d/.test(name)).length : 0,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.runtime[Symbol.asyncDispose]();
    await this.#ovsNode[Symbol.asyncDispose]();
  }
}

/** Plays a test while the Pod's namespace is there. */
export async function withPod(act: () => Promise<void>): Promise<void> {
  createNetns(podNetns)[Symbol.dispose]();
  try {
    await act();
  } finally {
    deleteNetns(podNetns);
  }
}

/** The ledger needs a cluster; here another executable stands behind ours. */
function ipamFor(config: PluginConfig): ForeignIpam | undefined {
  const type = ipamTypeOf(config.raw);
  if (type === "spiderpool") {
    return new ForeignIpam("host-local", { ...config, raw: { ...config.raw, ipam: hostLocal } });
  }
  return type === undefined ? undefined : new ForeignIpam(type, config);
}
