import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { JsonObject } from "#base";
import { createNetns, deleteNetns } from "#linux";
import { inPod, multusConfig, podNetns, type TestCall, type TestRuntime } from "../../src/agent/testing/runtime.ts";
import { isolated } from "../../src/linux/testing/isolated.ts";
import { CniNode, nothing, withPod } from "./node.ts";

/** The calls of the two container runtimes, in their order and with what each of them says. */
if (isolated(import.meta.url)) {
  let node: CniNode;
  let runtime: TestRuntime;

  before(async () => {
    node = await CniNode.start();
    runtime = node.runtime;
  });
  after(() => node[Symbol.asyncDispose]());

  describe("a container runtime", { timeout: 240_000 }, () => {
    const containerd = {
      config: {
        capabilities: { portMappings: true },
        cniVersion: "0.3.1",
        name: "multus-cni-network",
        type: "multus",
        clusterNetwork: "main",
        runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "" }] },
      },
      container: "0123456789abcdef".repeat(4),
    };
    const matrix: readonly (readonly [string, TestCall & { readonly cniVersion?: string; readonly gone?: boolean }])[] =
      [
        ["a normal stop with prevResult", { cniVersion: "1.0.0" }],
        ["a normal stop of 0.3.1 without it", {}],
        ["a node that was booted: the path does not exist", { gone: true }],
        ["a sandbox that was lost: no path", { gone: true, netns: "" }],
        ["a repetition", {}],
      ];
    for (const [what, { cniVersion = "0.3.1", gone = false, ...call }] of matrix) {
      it(`containerd's ADD shows an address on eth0, and DEL succeeds after ${what}`, async () => {
        createNetns(podNetns)[Symbol.dispose]();
        const config = { ...containerd.config, cniVersion };
        const { json } = await runtime.succeed("ADD", { ...containerd, config });
        const eth0 = json.interfaces.findIndex(
          (one: JsonObject) => one["name"] === "eth0" && one["sandbox"] === podNetns,
        );
        assert.ok(json.ips.some((ip: JsonObject) => ip["interface"] === eth0));
        if (gone) deleteNetns(podNetns);
        const prevResult = cniVersion === "1.0.0" ? { prevResult: json } : {};
        const del = { ...containerd, ...call, config: { ...config, ...prevResult } };
        for (let times = 0; times < 2; times++) assert.equal((await runtime.succeed("DEL", del)).stdout, "");
        if (!gone) deleteNetns(podNetns);
        assert.deepEqual(node.state(), nothing);
      });
    }

    it("CRI-O's calls, as its documentation describes them: start, Pod, status, stop twice, collection", () =>
      withPod(async () => {
        const container = "fedcba9876543210".repeat(4);
        const of = (name: string, id: string) =>
          `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name};K8S_POD_INFRA_CONTAINER_ID=${id};K8S_POD_UID=uid-${name}`;
        const env = { CNI_ARGS: of("a", container) };
        const none = { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined, CNI_ARGS: undefined };
        const config = multusConfig({ cniVersion: "1.1.0", capabilities: { portMappings: true, aliases: true } });
        const runtimeConfig = {
          portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "" }],
          aliases: { "multus-cni-network": ["web"] },
        };
        const valid = (...attachments: readonly JsonObject[]) => ({
          config: { ...config, "cni.dev/valid-attachments": attachments },
          env: none,
        });
        // It reads a configuration: does the plugin know its version? It starts: what does the network still have of before?
        const { json: versions } = await runtime.succeed("VERSION", { config: { cniVersion: "1.1.0" }, env: none });
        assert.ok(versions.supportedVersions.includes("1.1.0"));
        await runtime.succeed("STATUS", { config, env: none });
        await runtime.succeed("GC", valid());
        // It brings lo up itself, in a namespace of its own making.
        inPod("ip", "link", "set", "lo", "up");
        const made = { ...config, runtimeConfig };
        const { json: result } = await runtime.succeed("ADD", { container, env, config: made });
        assert.equal(result.cniVersion, "1.1.0");
        assert.ok(result.ips.length > 0);
        // Each time that a Pod's status is asked for, with what it has in its cache.
        for (let times = 0; times < 3; times++)
          await runtime.succeed("CHECK", { container, env, config: { ...made, prevResult: result } });
        await runtime.succeed("GC", valid({ containerID: container, ifname: "eth0" }));
        inPod("ip", "link", "show", "eth0");
        // Stop and remove each end with a DEL, by the configuration and the result of the ADD.
        for (let times = 0; times < 2; times++)
          assert.equal(
            (await runtime.succeed("DEL", { container, env, config: { ...made, prevResult: result } })).stdout,
            "",
          );
        assert.deepEqual(node.state(), nothing);
        inPod("ip", "link", "show", "lo");
        // A sandbox that was lost, and of which the runtime knows nothing any more: the next collection ends it.
        const lost = "/run/netns/lost";
        createNetns(lost)[Symbol.dispose]();
        await runtime.succeed("ADD", { container, netns: lost, env, config: made });
        deleteNetns(lost);
        await runtime.succeed("GC", valid());
        assert.deepEqual(node.state(), nothing);
      }));
  });
}
