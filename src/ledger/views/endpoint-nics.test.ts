import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseIp, parsePrefix } from "#ip";
import { claimFor, claimsOfNics } from "../testing/nics.ts";
import { endpointNics } from "./endpoint-nics.ts";

describe("endpointNics()", () => {
  it("has one entry for each NIC, both families in it, eth0 first", () => {
    assert.deepEqual(endpointNics(claimsOfNics), [
      {
        interface: "eth0",
        vlan: 0,
        ipv4: "172.18.0.9/16",
        ipv4Pool: "pool-eth0",
        ipv4Gateway: "172.18.0.1",
        ipv6: "fd00::9/64",
        ipv6Pool: "pool-eth0",
        ipv6Gateway: "fd00::1",
        cleanGateway: false,
      },
      {
        interface: "net1",
        vlan: 0,
        ipv4: "10.6.0.9/16",
        ipv4Pool: "pool-net1",
        ipv4Gateway: "10.6.0.1",
        cleanGateway: true,
        routes: [{ dst: "10.0.0.0/8", gw: "10.6.0.2" }],
      },
      { interface: "net2", vlan: 0, ipv4: "10.7.0.9/24", ipv4Pool: "pool-net2" },
    ]);
  });

  it("shows a route of the Pod's annotation after the pool's, at the first NIC in whose subnet its gateway is", () => {
    const twin = claimFor("net3", "10.6.0.10", { prefix: 16 });
    const asked = (dst: string, gw: string) => ({ dst: parsePrefix(dst), gw: parseIp(gw) });
    const routes = [
      asked("10.8.0.0/16", "10.6.0.3"),
      asked("fd01::/64", "fd00::1"),
      asked("10.8.0.0/16", "192.168.1.1"),
    ];
    assert.deepEqual(
      endpointNics([twin, ...claimsOfNics], routes).map((nic) => nic.routes?.map(({ dst, gw }) => `${dst} via ${gw}`)),
      [["fd01::/64 via fd00::1"], ["10.0.0.0/8 via 10.6.0.2", "10.8.0.0/16 via 10.6.0.3"], undefined, undefined],
    );
  });
});
