import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Environment } from "#base";
import { setWithoutEffect } from "./environment.ts";
import { readOptions } from "./options.ts";

const needed = { SPIDERPOOL_POD_NAME: "a", SPIDERPOOL_POD_NAMESPACE: "kube-system" };

describe("the controller's environment", () => {
  it("has the documented defaults, also if variables are empty or blank", () => {
    const blank = { SPIDERPOOL_GC_IP_ENABLED: "", SPIDERPOOL_GC_ADDITIONAL_GRACE_DELAY: "  " };
    const { collection, leader, metrics, listedIps, agentComponent } = optionsOf(blank);
    assert.deepEqual(collection, {
      policy: {
        enabled: true,
        endingOnReadyNode: true,
        endingOnNotReadyNode: true,
        runningWithoutAddresses: false,
        delayMs: 0,
      },
      intervalMs: 600_000,
      workers: 3,
      dryRun: false,
    });
    assert.deepEqual(leader, { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2_000 });
    assert.deepEqual([metrics, listedIps, agentComponent], [undefined, 1_000, "spiderpool-agent"]);
  });

  it("is trimmed, and accepts Go's words for true and false", () => {
    const { collection, metrics } = optionsOf({
      SPIDERPOOL_GC_IP_ENABLED: " False ",
      SPIDERPOOL_GC_STATELESS_TERMINATING_POD_ON_READY_NODE_ENABLED: "0",
      SPIDERPOOL_GC_STATELESS_TERMINATING_POD_ON_NOT_READY_NODE_ENABLED: "f",
      SPIDERPOOL_GC_ENABLE_STATELESS_RUNNING_POD_ON_EMPTY_POD_STATUS_IPS: "1",
      SPIDERPOOL_GC_ADDITIONAL_GRACE_DELAY: "5",
      SPIDERPOOL_GC_DEFAULT_INTERVAL_DURATION: "30",
      SPIDERPOOL_ENABLED_METRIC: "true",
      SPIDERPOOL_ENABLED_DEBUG_METRIC: "true",
    });
    const { enabled, endingOnReadyNode, endingOnNotReadyNode, runningWithoutAddresses, delayMs } = collection.policy;
    assert.deepEqual(
      [enabled, endingOnReadyNode, endingOnNotReadyNode, runningWithoutAddresses, delayMs, collection.intervalMs],
      [false, false, false, true, 5_000, 30_000],
    );
    assert.deepEqual(metrics, { port: 5721, debug: true });
  });

  it("is refused naming every wrong variable, its value and what is allowed", () => {
    const wrong = {
      SPIDERPOOL_GC_IP_ENABLED: "yes",
      SPIDERPOOL_GC_DEFAULT_INTERVAL_DURATION: "10m",
      SPIDERPOOL_LEADER_RENEW_DEADLINE: "20",
      SPIDERPOOL_METRIC_HTTP_PORT: "70000",
    };
    assert.throws(
      () => optionsOf(wrong),
      (error: Error) => {
        for (const part of [
          'SPIDERPOOL_GC_IP_ENABLED is "yes", allowed are true and false',
          'SPIDERPOOL_GC_DEFAULT_INTERVAL_DURATION is "10m", allowed are 1 to 86400',
          "SPIDERPOOL_LEADER_RENEW_DEADLINE must be less than SPIDERPOOL_LEADER_DURATION",
          '"70000", a port is needed',
        ]) {
          assert.ok(error.message.includes(part), `${part} in ${error.message}`);
        }
        return true;
      },
    );
  });

  it("lists variables that have no effect any more", () => {
    const environment = new Environment({ SPIDERPOOL_GC_CHANNEL_BUFFER: "1", SPIDERPOOL_LEADER_RETRY_GAP: "" });
    assert.deepEqual(setWithoutEffect(environment), ["SPIDERPOOL_GC_CHANNEL_BUFFER"]);
  });
});

function optionsOf(env: Readonly<Record<string, string>>) {
  const options = readOptions(["daemon"], { ...needed, ...env });
  return "print" in options ? assert.fail() : options;
}
