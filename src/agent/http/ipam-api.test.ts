import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import type { SpiderEndpoint } from "#api";
import { metricsContentType, SpiderError, silentLogger } from "#base";
import { type CniRequest, type CniResult, emptyResult } from "#cni";
import { formatIp, parseIp, parsePrefix } from "#ip";
import type { Claim } from "#ledger";
import { testPod } from "../testing/api.ts";
import { probesElsewhere, serveApi, serveText } from "./api.ts";
import { type IpamApiOptions, ipamRoutes, selectFlights } from "./ipam-api.ts";

const folder = mkdtempSync(join(tmpdir(), "api-"));
const socketPath = join(folder, "spiderpool.sock");
let served: AsyncDisposable;
let performed: CniRequest[];
let released: string[];
let quarantined: string[];
let withdrawn: string[];
let serving: IpamApiOptions | undefined;

const result: CniResult = {
  ...emptyResult,
  ips: [{ address: parsePrefix("10.6.168.101/16"), gateway: parseIp("10.6.0.1") }],
  routes: [{ dst: parsePrefix("0.0.0.0/0"), gw: parseIp("10.6.0.1") }],
};
const claim = { ip: parseIp("10.6.168.101"), spec: { pool: "p4", nic: "eth0", containerID: "c1" } } as unknown as Claim;
const endpoint = {
  status: {
    current: {
      uid: "u1",
      node: "n1",
      ips: [
        {
          interface: "eth0",
          ipv4: "10.6.168.101/16",
          ipv4Pool: "p4",
          ipv4Gateway: "10.6.0.1",
          vlan: 0,
          routes: [{ dst: "10.7.0.0/16", gw: "10.6.0.1" }],
        },
      ],
    },
  },
} as unknown as SpiderEndpoint;

before(async () => {
  served = await serveApi(socketPath, {
    ...probesElsewhere,
    ...ipamRoutes(() => {
      if (serving === undefined) throw new SpiderError("NOT_SERVING", "spiderpool-agent is starting");
      return serving;
    }),
    "GET /v1/flights": ({ query }) => selectFlights([{ pod: "default/web-0" }, { pod: "default/db-0" }], query),
  });
});
after(async () => {
  await served[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  performed = [];
  released = [];
  quarantined = [];
  withdrawn = [];
  serving = {
    perform: async (request) => {
      performed.push(request);
      return request.verb === "ADD" ? result : emptyResult;
    },
    claimsOf: () => [claim],
    release: (_claim, why) => void released.push(why),
    quarantine: async ({ ip }) => void quarantined.push(formatIp(ip)),
    withdraw: async ({ metadata }, claims) => {
      assert.deepEqual([released, quarantined], [[], []], "the endpoint comes first");
      withdrawn.push(metadata.name, ...claims.map(({ ip }) => formatIp(ip)));
    },
    podOf: (_namespace, name) => (name === "none" ? undefined : testPod(name)),
    endpointOf: async (_namespace, name) => (name === "none" ? undefined : endpoint),
    isSticky: ({ metadata }) => metadata.name === "db-0",
    coordinatorConfig: async () => ({ mode: "underlay", overlayPodCIDR: [], serviceCIDR: ["10.96.0.0/12"] }),
    settings: { enableGatewayDetection: true, enableIPConflictDetection: false },
    mayGiveBack: true,
    log: silentLogger,
  };
});

async function ask(method: string, path: string, body?: object | string) {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number | undefined; body: unknown }>();
  const sent = typeof body === "object" ? JSON.stringify(body) : (body ?? "");
  const headers = { "content-length": Buffer.byteLength(sent) };
  const request = httpRequest({ socketPath, method, path, headers }, (response) => {
    let text = "";
    response.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    response.on("end", () =>
      resolve({ status: response.statusCode, body: text === "" ? undefined : JSON.parse(text) }),
    );
  });
  request.on("error", reject);
  request.end(sent);
  return promise;
}

const nic = {
  containerID: "c1",
  ifName: "eth0",
  netNamespace: "/var/run/netns/x",
  podNamespace: "default",
  podName: "web-0",
  podUID: "u1",
};

describe("the HTTP API on the agent's socket", () => {
  it("GET /v1/ipam/healthy: empty while it serves, 500 with a sentence before", async () => {
    assert.deepEqual(await ask("GET", "/v1/ipam/healthy"), { status: 200, body: undefined });
    serving = undefined;
    assert.deepEqual(await ask("GET", "/v1/ipam/healthy"), { status: 500, body: "spiderpool-agent is starting" });
  });

  it("POST /v1/ipam/ip: allocates as the IPAM plugin does, and names pool and NIC", async () => {
    const body = { ...nic, defaultIPv4IPPool: ["p4"], defaultIPv6IPPool: null, cleanGateway: true };
    assert.deepEqual(await ask("POST", "/v1/ipam/ip", body), {
      status: 200,
      body: {
        ips: [
          {
            version: 4,
            address: "10.6.168.101/16",
            gateway: "10.6.0.1",
            ipPool: "p4",
            nic: "eth0",
            enableGatewayDetection: true,
          },
        ],
        routes: [{ ifName: "eth0", dst: "0.0.0.0/0", gw: "10.6.0.1" }],
      },
    });
    const [request] = performed;
    assert.deepEqual(
      [request?.verb, request?.executable, request?.containerId, request?.netns, request?.pod],
      ["ADD", "spiderpool", "c1", "/var/run/netns/x", { namespace: "default", name: "web-0", uid: "u1" }],
    );
    assert.deepEqual(request?.config.raw["ipam"], {
      type: "spiderpool",
      default_ipv4_ippool: ["p4"],
      default_ipv6_ippool: [],
      clean_gateway: true,
      match_master_subnet: false,
    });
  });

  it("POST /v1/ipam/ip: omits what is not known", async () => {
    const [ip] = result.ips;
    assert.ok(ip);
    const bare: CniResult = { ...emptyResult, ips: [{ address: ip.address }] };
    const settings = { enableGatewayDetection: false, enableIPConflictDetection: false };
    serving = { ...(serving as IpamApiOptions), perform: async () => bare, claimsOf: () => [], settings };
    const { body } = await ask("POST", "/v1/ipam/ip", nic);
    assert.deepEqual(body, { ips: [{ version: 4, address: "10.6.168.101/16", nic: "eth0" }], routes: null });
  });

  it("POST /v1/ipam/ip: 422 names every wrong field, 500 is the sentence of a failure", async () => {
    const { status, body } = await ask("POST", "/v1/ipam/ip", { ...nic, podName: "", ifName: 7 });
    assert.deepEqual([status, performed], [422, []]);
    assert.match(String(body), /ifName: .*podName: /s);
    assert.equal((await ask("POST", "/v1/ipam/ip", { ...nic, containerID: "../c" })).status, 422);
    assert.equal((await ask("POST", "/v1/ipam/ip", "{")).status, 400);
    serving = { ...(serving as IpamApiOptions), perform: () => Promise.reject(new Error("all IP addresses used out")) };
    assert.deepEqual(await ask("POST", "/v1/ipam/ip", nic), { status: 500, body: "all IP addresses used out" });
  });

  it("DELETE /v1/ipam/ip: releases by the body", async () => {
    assert.deepEqual(await ask("DELETE", "/v1/ipam/ip", nic), { status: 200, body: undefined });
    assert.equal(performed[0]?.verb, "DEL");
  });

  it("POST and DELETE /v1/ipam/ips: nothing, and giving back; what was found in use goes to nobody for a while", async () => {
    assert.deepEqual(await ask("POST", "/v1/ipam/ips"), { status: 200, body: undefined });
    const body = { containerID: "c1", podNamespace: "default", podName: "web-0", podUID: "u1" };
    assert.equal((await ask("DELETE", "/v1/ipam/ips", { ...body, isReleaseConflictIPs: true })).status, 200);
    assert.deepEqual([released.length, quarantined], [0, ["10.6.168.101"]]);
    serving = { ...(serving as IpamApiOptions), withdraw: async () => {} };
    assert.equal((await ask("DELETE", "/v1/ipam/ips", body)).status, 200);
    assert.deepEqual([released.length, quarantined.length], [1, 1]);
    const sticky = await ask("DELETE", "/v1/ipam/ips", { ...body, podName: "db-0" });
    assert.deepEqual(sticky, { status: 522, body: "forbid releasing IPs for stateful workload " });
    assert.equal(released.length, 1);
    serving = { ...(serving as IpamApiOptions), mayGiveBack: false };
    assert.deepEqual(await ask("DELETE", "/v1/ipam/ips", { ...body, isReleaseConflictIPs: true }), {
      status: 521,
      body: "forbid releasing IPs for stateless workload",
    });
    assert.equal((await ask("DELETE", "/v1/ipam/ips", { podName: "web-0" })).status, 422);
    assert.deepEqual([released.length, quarantined.length], [1, 1]);
  });

  it("DELETE /v1/ipam/ips: takes the addresses out of the Pod's endpoint before anybody can have them", async () => {
    const body = { containerID: "c1", podNamespace: "default", podName: "web-0", podUID: "u1" };
    assert.equal((await ask("DELETE", "/v1/ipam/ips", body)).status, 200);
    assert.deepEqual([withdrawn, released.length], [["web-0", "10.6.168.101"], 1]);
  });

  it("GET /v1/workloadendpoint: the Pod's interfaces, or 404", async () => {
    const { body } = await ask("GET", "/v1/workloadendpoint?podNamespace=default&podName=web-0");
    assert.deepEqual(body, {
      podNamespace: "default",
      podName: "web-0",
      podUID: "u1",
      node: "n1",
      interfaces: [
        {
          interface: "eth0",
          ipv4: "10.6.168.101/16",
          ipv4Pool: "p4",
          ipv4Gateway: "10.6.0.1",
          routes: [{ ifName: "eth0", dst: "10.7.0.0/16", gw: "10.6.0.1" }],
        },
      ],
    });
    assert.deepEqual(await ask("GET", "/v1/workloadendpoint?podNamespace=default&podName=none"), {
      status: 404,
      body: "SpiderEndpoint not found for pod default/none",
    });
    assert.equal((await ask("GET", "/v1/workloadendpoint?podName=web-0")).status, 400);
  });

  it("GET /v1/coordinator/config: by a body, as its plugin asks", async () => {
    const { status, body } = await ask("GET", "/v1/coordinator/config", { podName: "web-0", podNamespace: "default" });
    const config = { mode: "underlay", tunePodRoutes: true, overlayPodCIDR: [], serviceCIDR: ["10.96.0.0/12"] };
    assert.deepEqual([status, body], [200, config]);
    assert.deepEqual(await ask("GET", "/v1/coordinator/config", { podName: "none", podNamespace: "default" }), {
      status: 500,
      body: "failed to get pod default/none",
    });
  });

  it("GET /v1/flights: all, or those of one Pod", async () => {
    assert.equal(((await ask("GET", "/v1/flights")).body as unknown[]).length, 2);
    assert.deepEqual((await ask("GET", "/v1/flights?pod=default/db-0")).body, [{ pod: "default/db-0" }]);
    assert.equal((await ask("GET", "/v1/flights?pod=db-0")).status, 400);
  });

  it("answers 501 where another listener of the agent serves the path", async () => {
    assert.deepEqual(await ask("GET", "/v1/runtime/readiness"), {
      status: 501,
      body: "not implemented here: it is served at the port of the probes",
    });
  });

  it("says which paths and methods there are to whoever asks for others", async () => {
    const unknown = await ask("GET", "/v2");
    assert.deepEqual([unknown.status, /GET \/v1\/ipam\/healthy/.test(String(unknown.body))], [404, true]);
    assert.deepEqual(await ask("PUT", "/v1/ipam/ip"), {
      status: 405,
      body: "PUT is not served here, but POST, DELETE",
    });
  });
});

describe("the port of the metrics", () => {
  it("answers every path with the text", async () => {
    await using server = await serveText(
      { port: 0, host: "127.0.0.1" },
      metricsContentType,
      async () => "spiderpool_x 1\n",
    );
    for (const path of ["/metrics", "/"]) {
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`);
      assert.deepEqual(
        [response.headers.get("content-type"), await response.text()],
        [metricsContentType, "spiderpool_x 1\n"],
      );
    }
  });
});
