import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hasCode } from "#base";
import { readOptions } from "./options.ts";

const env = { SPIDERPOOL_NODE_NAME: "n1", SPIDERPOOL_POD_NAMESPACE: "kube-system" };

describe("readOptions()", () => {
  it("has a default for everything but node and namespace, and installs nothing by default", () => {
    const options = readOptions(["daemon"], env);
    assert.ok(!("print" in options));
    assert.deepEqual(
      [options.node, options.namespace, options.logLevel, options.cniSocket, options.clusterNetwork, options.cniBinDir],
      ["n1", "kube-system", "info", "/var/run/spidernet/cni.sock", "", undefined],
    );
  });

  it("takes flags and environment", () => {
    const argv = ["daemon", "--cni-bin-dir", "/opt/cni/bin", "--shim=/shim", "--state-dir", "/s", "--kubeconfig", "/k"];
    const options = readOptions(argv, { ...env, KUBECONFIG: "/other", MULTUS_CLUSTER_NETWORK: " kube-system/net " });
    assert.ok(!("print" in options));
    assert.deepEqual(
      [options.cniBinDir, options.shim, options.stateDir, options.kubeconfig, options.clusterNetwork],
      ["/opt/cni/bin", "/shim", "/s", "/k", "kube-system/net"],
    );
  });

  it("waits for an application's pool as long as the two variables of it say together", () => {
    const variables = ["SPIDERPOOL_WAIT_SUBNET_POOL_TIME_IN_SECOND", "SPIDERPOOL_WAIT_SUBNET_POOL_MAX_RETRIES"];
    const waitOf = (...values: readonly string[]) => {
      const set = Object.fromEntries(values.map((value, at) => [variables[at], value]));
      const options = readOptions(["daemon"], { ...env, ...set });
      return "print" in options ? assert.fail() : options.autoPoolWaitMs;
    };
    assert.deepEqual([waitOf(), waitOf("1"), waitOf("3", "4")], [50_000, 25_000, 12_000]);
    assert.throws(() => waitOf("0"), /SPIDERPOOL_WAIT_SUBNET_POOL_TIME_IN_SECOND is "0", allowed are 1 to 60/);
  });

  it("names everything that is wrong in one sentence", () => {
    const argv = ["daemon", "--cni-bin-dir", "/opt/cni/bin"];
    assert.throws(
      () => readOptions(argv, { SPIDERPOOL_LOG_LEVEL: "loud" }),
      (error) =>
        hasCode(error, "OPTIONS_INVALID") &&
        [/SPIDERPOOL_NODE_NAME/, /SPIDERPOOL_POD_NAMESPACE/, /"loud", allowed are debug/, /needs --shim/].every(
          (part) => part.test(error.message),
        ),
    );
  });

  it("has no other commands: none of a former version starts the agent", () => {
    for (const command of ["shutdown", "generate-markdown"]) {
      const argv = [command, "--markdown-path", "/tmp"];
      assert.throws(() => readOptions(argv, env), {
        message: `cannot start: the command is "${command}", allowed are daemon, uninstall`,
      });
    }
    assert.doesNotThrow(() => readOptions(["--state-dir", "/s"], env));
  });

  it("lists variables that have no effect, unless they say no", () => {
    const set = { SPIDERPOOL_GOPS_LISTEN_PORT: "5712", SPIDERPOOL_ENABLED_DEBUG_METRIC: "false" };
    const options = readOptions(["daemon"], { ...env, ...set });
    assert.deepEqual("print" in options || options.withoutEffect, ["SPIDERPOOL_GOPS_LISTEN_PORT"]);
  });

  it("prints help without any environment, and refuses unknown flags by name", () => {
    const help = readOptions(["--help"], {});
    assert.ok("print" in help && help.print.startsWith("spiderpool-agent:"));
    assert.throws(() => readOptions(["daemon", "--no-such"], env), /--no-such/);
  });
});
