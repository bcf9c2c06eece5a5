import assert from "node:assert/strict";
import { test } from "node:test";
import { formatPrefix, parseIp } from "#ip";
import { derivedMac, hostLinkName, linkLocalAddress } from "./names.ts";

test("a MAC address follows from the first address as in ovs-cni", () => {
  assert.equal(derivedMac(parseIp("10.10.0.5")), "0a:58:0a:0a:00:05");
  // SHA-256 of "fd00::5" begins with these four bytes.
  assert.equal(derivedMac(parseIp("fd00::5")), "0a:58:67:cc:13:6b");
});

test("a host link's name follows from container and interface, and fits into 15 bytes", () => {
  const name = hostLinkName("veth", "c1", "net1");
  assert.match(name, /^veth[0-9a-f]{8}$/);
  assert.equal(hostLinkName("veth", "c1", "net1"), name);
  assert.notEqual(hostLinkName("veth", "c1", "net2"), name);
});

test("an IPv6 link-local address follows from the MAC address as the kernel makes it", () => {
  assert.equal(formatPrefix(linkLocalAddress("0a:58:0a:0a:00:05")), "fe80::858:aff:fe0a:5/64");
});
