import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SpiderError } from "#base";
import { decodeSettings } from "./config.ts";

/** The problems reported for an invalid text. */
function problems(yaml: string): unknown {
  try {
    decodeSettings(yaml);
  } catch (error) {
    assert.ok(error instanceof SpiderError && error.code === "CONFIG_INVALID");
    return error.details["problems"] ?? error.details["reason"];
  }
  return assert.fail("it was taken");
}

describe("decodeSettings", () => {
  test("empty text means the defaults of the chart", () => {
    const { settings, warnings } = decodeSettings("");
    assert.deepEqual(warnings, []);
    assert.equal(settings.ipamUnixSocketPath, "/var/run/spidernet/spiderpool.sock");
    assert.deepEqual([settings.enableIPv4, settings.enableIPv6, settings.enableGatewayDetection], [true, true, false]);
    assert.equal(settings.redundantIpNumber, 1);
    assert.deepEqual(settings.podResourceInject, {
      enabled: false,
      namespacesExclude: ["kube-system", "spiderpool", "metallb-system", "istio-system"],
      namespacesInclude: [],
    });
    assert.deepEqual(settings.iaasNetworkProvider, { serverUrl: "", httpRequestTimeout: "50s" });
  });

  test("keys without a value, and an empty socket path, count as absent", () => {
    const { settings } = decodeSettings('ipamUnixSocketPath: ""\nenableIPv6:\npodResourceInject:\n');
    assert.deepEqual(settings, decodeSettings("").settings);
  });

  test("given values are kept, and missing ones are filled in", () => {
    const { settings, warnings } = decodeSettings(`
enableIPv6: false
agent:
  networkResourcePlugin:
    enabled: true
    resourceAdvertisement:
      masterNIC:
        rules: [{includeInterfaces: [eth1]}]
`);
    assert.deepEqual(warnings, []);
    assert.equal(settings.enableIPv6, false);
    assert.deepEqual(settings.agent.networkResourcePlugin.resourceAdvertisement.masterNIC.rules, [
      { nodeSelector: {}, defaultMaxCount: 10_000, includeInterfaces: ["eth1"], excludeInterfaces: [] },
    ]);
  });

  test("the redundant number has two names, and is 0 where there are no application pools", () => {
    const number = (yaml: string) => decodeSettings(yaml).settings.redundantIpNumber;
    assert.equal(number("clusterSubnetDefaultFlexibleIPNumber: 3"), 3);
    assert.equal(number("clusterSubnetAutoPoolDefaultRedundantIPNumber: 4"), 4);
    assert.equal(number("clusterSubnetDefaultFlexibleIPNumber: 3\nenableSpiderSubnet: false"), 0);
    assert.equal(number("clusterSubnetDefaultFlexibleIPNumber: 3\nenableAutoPoolForApplication: false"), 0);
  });

  test("unknown keys cause a warning with their path", () => {
    const { warnings } = decodeSettings(
      "enableIpv4: true\npodResourceInject: {enable: true}\nagent: {networkResourcePlugin: {resourceAdvertisement: {subENI: {rules: [{max: 1}]}}}}",
    );
    assert.deepEqual(warnings, [
      "unknown key enableIpv4",
      "unknown key podResourceInject.enable",
      "unknown key agent.networkResourcePlugin.resourceAdvertisement.subENI.rules[0].max",
    ]);
  });

  test("an IaaS provider causes a warning: nobody would ask it", () => {
    const { warnings } = decodeSettings("iaasNetworkProvider: {serverUrl: 'https://iaas.example'}");
    assert.deepEqual(warnings, ["iaasNetworkProvider.serverUrl has no effect: no IaaS provider is asked"]);
  });

  test("every value of a wrong type is refused with its path", () => {
    assert.deepEqual(problems('enableIPv4: "yes"\npodResourceInject: {namespacesExclude: [1]}\nagent: 5'), [
      'enableIPv4: Invalid type: Expected boolean but received "yes"',
      "podResourceInject.namespacesExclude.0: Invalid type: Expected string but received 1",
      "agent: Invalid type: Expected Object but received 5",
    ]);
    assert.deepEqual(problems("a"), ['conf.yml: Invalid type: Expected Object but received "a"']);
    assert.equal(problems("- a"), "it is a list, not keys with values");
  });

  test("invalid YAML is refused with its position", () => {
    assert.match(String(problems("a: [")), /line 1/);
  });
});
