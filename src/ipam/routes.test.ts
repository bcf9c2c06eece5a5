import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatIp, formatPrefix, parseIp, parsePrefix } from "#ip";
import { type Addressed, attachRoutes, type Route, routesOf, unmatchedRoutes } from "./routes.ts";

function route(dst: string, gw: string): Route {
  return { dst: parsePrefix(dst), gw: parseIp(gw) };
}

function addressed(
  address: string,
  gateway: string | undefined,
  cleanGateway: boolean,
  routes: readonly Route[] = [],
): Addressed {
  return {
    address: parsePrefix(address),
    gateway: gateway === undefined ? undefined : parseIp(gateway),
    cleanGateway,
    routes,
  };
}

function text(routes: readonly Route[]): readonly string[] {
  return routes.map(({ dst, gw }) => `${formatPrefix(dst)} via ${formatIp(gw)}`);
}

describe("attachRoutes() and unmatchedRoutes()", () => {
  it("give a route to the first address whose subnet has its gateway, after the pool's own, and tell the rest", () => {
    const first = addressed("10.6.0.5/16", "10.6.0.1", false, [route("10.9.0.0/16", "10.6.0.2")]);
    const twin = addressed("10.6.0.6/16", "10.6.0.1", false);
    const v6 = addressed("fd00::5/64", undefined, false);
    const custom = [
      route("10.8.0.0/16", "10.6.0.3"),
      route("fd01::/64", "fd00::1"),
      route("10.8.0.0/16", "192.168.1.1"),
    ];
    const addresses = attachRoutes([first, twin, v6], custom);
    const unmatched = unmatchedRoutes(
      [first, twin, v6].map(({ address }) => address),
      custom,
    );
    assert.deepEqual(
      addresses.map((address) => text(address.routes)),
      [["10.9.0.0/16 via 10.6.0.2", "10.8.0.0/16 via 10.6.0.3"], [], ["fd01::/64 via fd00::1"]],
    );
    assert.deepEqual(text(unmatched), ["10.8.0.0/16 via 192.168.1.1"]);
  });
});

describe("routesOf()", () => {
  it("puts the default route last, and leaves it out without a gateway or with a clean one", () => {
    const pool = [route("10.9.0.0/16", "10.6.0.2")];
    assert.deepEqual(text(routesOf(addressed("10.6.0.5/16", "10.6.0.1", false, pool))), [
      "10.9.0.0/16 via 10.6.0.2",
      "0.0.0.0/0 via 10.6.0.1",
    ]);
    assert.deepEqual(text(routesOf(addressed("fd00::5/64", "fd00::1", false))), ["::/0 via fd00::1"]);
    assert.deepEqual(text(routesOf(addressed("10.6.0.5/16", "10.6.0.1", true, pool))), text(pool));
    assert.deepEqual(text(routesOf(addressed("10.6.0.5/16", undefined, false, pool))), text(pool));
  });
});
