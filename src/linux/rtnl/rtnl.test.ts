import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, describe, test } from "node:test";
import { formatPrefix, parseIp, parsePrefix } from "#ip";
import { LinuxError } from "../errors.ts";
import { createNetns, deleteNetns, hostNetns, type Netns } from "../netns.ts";
import { readSysctl } from "../sysctl.ts";
import { isolated } from "../testing/isolated.ts";

function refused(code: string, text: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof LinuxError);
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  };
}

function ip(...argv: string[]): string {
  return execFileSync("ip", argv, { encoding: "utf8" });
}

let count = 0;
/** A fresh namespace with a veth pair into it: `host<n>` here, `eth0` there, both up. */
function pod(): { readonly netns: Netns; readonly host: string; readonly [Symbol.dispose]: () => void } {
  count += 1;
  const path = `/run/netns/pod${count}`;
  const netns = createNetns(path);
  const host = `host${count}`;
  hostNetns().rtnl.createVeth({ name: host, up: true, peer: { name: "eth0", netns, up: true } });
  return {
    netns,
    host,
    [Symbol.dispose]: () => {
      hostNetns().rtnl.deleteLink(host, { tolerate: ["ENODEV"] });
      netns[Symbol.dispose]();
      deleteNetns(path);
    },
  };
}

if (isolated(import.meta.url)) {
  const { rtnl } = hostNetns();

  describe("links", () => {
    test("a veth gets its peer directly in the other namespace, with name, MAC and MTU of both ends", () => {
      using other = createNetns("/run/netns/veth");
      const pair = rtnl.createVeth({
        name: "va",
        mtuBytes: 1400,
        mac: "02:00:00:00:00:01",
        up: true,
        peer: { name: "eth0", netns: other, mac: "02:00:00:00:00:02", up: true },
      });
      const here = rtnl.link("va");
      const there = other.rtnl.link("eth0");
      assert.deepEqual(
        [here?.index, here?.mac, here?.mtuBytes, here?.up, here?.kind, here?.peerIndex],
        [pair.index, "02:00:00:00:00:01", 1400, true, "veth", pair.peer.index],
      );
      assert.deepEqual(
        [there?.index, there?.mac, there?.mtuBytes, there?.up, there?.peerIndex],
        [pair.peer.index, "02:00:00:00:00:02", 1400, true, pair.index],
      );
      assert.equal(typeof there?.peerNetnsId, "number");
      assert.equal(rtnl.link("eth0"), undefined);
      rtnl.deleteLink("va");
    });

    test("several pairs are all made or none", () => {
      using other = createNetns("/run/netns/pairs");
      rtnl.createVeth({ name: "taken", peer: { name: "x" } });
      assert.throws(
        () =>
          rtnl.createVeths([
            { name: "one", peer: { name: "eth0", netns: other } },
            { name: "taken", peer: { name: "eth1", netns: other } },
          ]),
        refused("EEXIST", /^create veth taken in .*: File exists/),
      );
      assert.equal(rtnl.link("one"), undefined);
      assert.ok(rtnl.link("taken"));
      assert.deepEqual(
        other.rtnl.links().map(({ name }) => name),
        ["lo"],
      );
      rtnl.deleteLink("taken");
    });

    test("an end without address generation goes up without a link-local address", () => {
      using other = createNetns("/run/netns/quiet");
      rtnl.createVeths([
        { name: "quiet", up: true, addrGenModeNone: true, peer: { name: "eth0", netns: other, up: true } },
        { name: "loud", up: true, peer: { name: "eth1", netns: other, up: true } },
      ]);
      const has = (link: string) => rtnl.addresses({ link, family: 6 }).length;
      assert.deepEqual([has("quiet"), has("loud"), rtnl.link("quiet")?.up], [0, 1, true]);
      rtnl.deleteLink("quiet");
      rtnl.deleteLink("loud");
    });

    test("a change sets name, MAC, MTU, queue length, group, bridge and state", () => {
      rtnl.createVeth({ name: "before", peer: { name: "peer" } });
      rtnl.createLink({ name: "br", kind: { kind: "bridge" } });
      rtnl.setLink("before", { newName: "changed", txQueueLen: 77, group: 5 });
      rtnl.setLink("changed", { mac: "02:00:00:00:00:09", mtuBytes: 1280, master: "br", up: true });
      const { name, mac, mtuBytes, txQueueLen, group, master, up } = rtnl.link("changed") ?? {};
      assert.deepEqual(
        { name, mac, mtuBytes, txQueueLen, group, master, up },
        {
          name: "changed",
          mac: "02:00:00:00:00:09",
          mtuBytes: 1280,
          txQueueLen: 77,
          group: 5,
          master: rtnl.link("br")?.index,
          up: true,
        },
      );
      rtnl.setLink("changed", { master: null });
      assert.equal(rtnl.link("changed")?.master, undefined);
      using other = createNetns("/run/netns/move");
      rtnl.setLink("peer", { netns: other });
      assert.equal(rtnl.link("peer"), undefined);
      assert.equal(other.rtnl.link("peer")?.name, "peer");
      rtnl.deleteLink("changed");
      rtnl.deleteLink("br");
    });

    test("macvlan, vxlan and bridge links are made with their options, below a parent of another namespace, too", () => {
      using other = createNetns("/run/netns/kinds");
      rtnl.createVeth({ name: "parent", up: true, peer: { name: "far" } });
      const made = other.rtnl.createLink({
        name: "vx",
        kind: { kind: "macvlan", parent: "parent", mode: "bridge" },
        parentNetns: hostNetns(),
      });
      rtnl.createLink({ name: "vx", kind: { kind: "vxlan", id: 7, remote: parseIp("192.0.2.1"), port: 8472 } });
      assert.deepEqual(other.rtnl.link("vx"), made);
      assert.deepEqual([made.kind, made.peerIndex], ["macvlan", rtnl.link("parent")?.index]);
      assert.match(ip("-d", "link", "show", "vx"), /vxlan id 7 remote 192\.0\.2\.1 .*dstport 8472/);
      rtnl.deleteLink("parent");
      rtnl.deleteLink("vx");
    });

    test("a macvlan in another namespace and pairs are made off the thread, one at a time; what cannot be made is not", async () => {
      using other = createNetns("/run/netns/beside");
      rtnl.createVeth({ name: "parent", up: true, peer: { name: "far" } });
      const kind = { kind: "macvlan", parent: "parent", mode: "bridge" } as const;
      const child = { spec: { name: "eth0", kind }, netns: other };
      const veths = [{ name: "beside0", up: true, peer: { name: "veth0", netns: other } }];
      const making = rtnl.tryBeside({ child, veths });
      assert.deepEqual(await rtnl.tryBeside({ child, veths }), { child: false, pairs: undefined });
      const made = await making;
      assert.deepEqual([made.child, made.pairs?.map(({ name }) => name)], [true, ["beside0"]]);
      assert.equal(other.rtnl.link("eth0")?.kind, "macvlan");
      assert.equal(other.rtnl.link("eth0")?.peerIndex, rtnl.link("parent")?.index);
      assert.equal(other.rtnl.link("veth0")?.index, made.pairs?.[0]?.peer.index);
      const two = [{ name: "beside1", peer: { name: "veth1", netns: other } }, ...veths];
      assert.deepEqual(await rtnl.tryBeside({ child, veths: two }), { child: false, pairs: undefined });
      assert.equal(rtnl.link("beside1"), undefined, "all pairs or none");
      await rtnl.deleteLinksLater(["beside0", "parent"]);
    });

    test("a name that is too long is refused before the kernel sees it", () => {
      assert.throws(() => rtnl.createVeth({ name: "sixteen-letters-", peer: { name: "x" } }), RangeError);
    });

    test("deleting a link that is missing names it", () => {
      assert.throws(() => rtnl.deleteLink("nope"), refused("ENODEV", /^delete link nope in .*: No such device/));
      rtnl.deleteLink("nope", { tolerate: ["ENODEV"] });
    });

    test("fifty links are deleted later at once, and names that are gone count as success", async () => {
      const names = Array.from({ length: 50 }, (_, at) => `later${at}`);
      rtnl.createVeths(names.map((name) => ({ name, peer: { name: `p-${name}` } })));
      await Promise.all([
        rtnl.deleteLinksLater(names.slice(0, 30)),
        rtnl.deleteLinksLater([...names.slice(20), "gone"]),
      ]);
      assert.deepEqual(
        rtnl.links().filter(({ name }) => name.startsWith("later")),
        [],
      );
    });

    test("links that are to go soon go together, by their index, and can be hurried by name", async () => {
      const made = rtnl.createVeths(["soon0", "soon1"].map((name) => ({ name, peer: { name: `p-${name}` } })));
      const leaving = made.map((link) => rtnl.deleteLinkSoon(link));
      // Somebody else deletes one and takes its name for another: that one stays.
      rtnl.deleteLink("soon0");
      rtnl.createVeth({ name: "soon0", peer: { name: "p-soon0" } });
      await rtnl.linkGone("soon1");
      await Promise.all(leaving);
      assert.deepEqual([rtnl.link("soon0")?.name, rtnl.link("soon1")], ["soon0", undefined]);
      await rtnl.linkGone("soon0"); // Nothing of that name is leaving.
      await rtnl.deleteLinksLater(["soon0"]);
    });

    test("settings of IPv4 are those below /proc/sys", () => {
      using box = pod();
      const keys = ["rp_filter", "arp_notify"].map((key) => `net/ipv4/conf/eth0/${key}`);
      box.netns.rtnl.setLink("eth0", { rpFilter: 2, arpNotify: true });
      assert.deepEqual(
        keys.map((key) => readSysctl(box.netns, key)),
        ["2", "1"],
      );
      box.netns.rtnl.setLink("eth0", { rpFilter: 0 });
      assert.deepEqual(
        keys.map((key) => readSysctl(box.netns, key)),
        ["0", "1"],
      );
    });

    test("a link is promiscuous from the start", () => {
      const [on, off] = rtnl.createVeths([
        { name: "on", promiscuous: true, peer: { name: "p-on" } },
        { name: "off", peer: { name: "p-off" } },
      ]);
      const promiscuous = (name: string) => ((rtnl.link(name)?.flags ?? 0) & 0x100) !== 0;
      assert.deepEqual(
        [on?.name, off?.name].map((name) => promiscuous(name ?? "")),
        [true, false],
      );
      rtnl.setLink("on", { promiscuous: false });
      assert.equal(promiscuous("on"), false);
      for (const name of ["on", "off"]) rtnl.deleteLink(name);
    });

    test("a link that cannot be deleted fails alone and keeps its group", async () => {
      rtnl.createVeth({ name: "can", peer: { name: "p-can" } });
      const [can, cannot] = await Promise.allSettled([rtnl.deleteLinksLater(["can"]), rtnl.deleteLinksLater(["lo"])]);
      assert.equal(can?.status, "fulfilled");
      assert.ok(cannot?.status === "rejected" && cannot.reason instanceof LinuxError);
      assert.match(cannot.reason.message, /^delete link lo in .*: Operation not supported/);
      assert.deepEqual([rtnl.link("can"), rtnl.link("lo")?.group], [undefined, 0]);
    });
  });

  describe("addresses", () => {
    test("addresses of both families are added, listed and deleted", () => {
      using box = pod();
      const own = box.netns.rtnl;
      const v4 = parsePrefix("10.6.0.10/16");
      const v6 = parsePrefix("fd00:6::10/64");
      own.addAddress("eth0", v4);
      own.addAddress("eth0", v6, { nodad: true });
      const listed = own.addresses({ link: "eth0" }).filter(({ scope }) => scope === 0);
      assert.deepEqual(
        listed.map(({ address, tentative }) => [formatPrefix(address), tentative]),
        [
          ["10.6.0.10/16", false],
          ["fd00:6::10/64", false],
        ],
      );
      own.deleteAddress("eth0", v4);
      assert.deepEqual(own.addresses({ link: "eth0", family: 4 }), []);
      assert.throws(
        () => own.deleteAddress("eth0", v4),
        refused("EADDRNOTAVAIL", /delete address 10\.6\.0\.10\/16 of eth0 in \/run\/netns\/pod/),
      );
    });

    test("without nodad an IPv6 address is tentative at first", () => {
      using box = pod();
      box.netns.rtnl.addAddress("eth0", parsePrefix("fd00:6::11/64"));
      const [address] = box.netns.rtnl.addresses({ link: "eth0", family: 6 }).filter(({ scope }) => scope === 0);
      assert.equal(address?.tentative, true);
    });
  });

  describe("routes", () => {
    test("routes with gateway, source, table and metric are added, listed by table and deleted", () => {
      using box = pod();
      const own = box.netns.rtnl;
      own.addAddress("eth0", parsePrefix("10.6.0.10/16"));
      own.addRoute({ dst: parsePrefix("0.0.0.0/0"), gw: parseIp("10.6.0.1"), src: parseIp("10.6.0.10"), table: 1000 });
      own.addRoute({ dst: parsePrefix("10.96.0.0/12"), dev: "eth0", table: 1000, metric: 7 });
      const eth0 = own.link("eth0")?.index;
      const listed = own.routes({ family: 4, table: 1000 });
      assert.deepEqual(
        listed.map(({ dst, gw, src, dev, table, metric, scope }) => [dst.bits, gw, src, dev, table, metric, scope]),
        [
          [0, parseIp("10.6.0.1"), parseIp("10.6.0.10"), eth0, 1000, undefined, 0],
          [12, undefined, undefined, eth0, 1000, 7, 253],
        ],
      );
      assert.deepEqual(
        own.routes({ family: 4 }).map(({ dst }) => formatPrefix(dst)),
        ["10.6.0.0/16"],
      );
      own.deleteRoute({ dst: parsePrefix("10.96.0.0/12"), table: 1000 });
      assert.equal(own.routes({ family: 4, table: 1000 }).length, 1);
      assert.deepEqual(own.routes({ family: 4, table: 77 }), []);
      assert.deepEqual(own.routes({ family: 6, table: 77 }), []);
    });

    test("IPv6 routes, multipath included, are read as iproute2 wrote them", () => {
      using box = pod();
      const own = box.netns.rtnl;
      own.addAddress("eth0", parsePrefix("fd00:6::10/64"), { nodad: true });
      const hop = (last: string) => ["nexthop", "via", `fd00:6::${last}`, "dev", "eth0"];
      box.netns.enter(() => ip("-6", "route", "add", "default", ...hop("1"), ...hop("2")));
      const found = own.routes({ family: 6 }).find(({ dst }) => dst.bits === 0);
      assert.deepEqual(
        found?.nextHops.map(({ gw }) => gw),
        [parseIp("fd00:6::1"), parseIp("fd00:6::2")],
      );
      assert.equal(
        own.routes({ family: 6, link: "eth0" }).some(({ dst }) => dst.bits === 0),
        true,
      );
    });

    test("an onlink route takes a gateway that no other route reaches", () => {
      using box = pod();
      const own = box.netns.rtnl;
      own.addAddress("eth0", parsePrefix("10.6.0.10/32"));
      const route = { dst: parsePrefix("0.0.0.0/0"), gw: parseIp("169.254.1.1"), dev: "eth0" };
      assert.throws(
        () => own.addRoute(route),
        refused(
          "ENETUNREACH",
          /add route 0\.0\.0\.0\/0 via 169\.254\.1\.1 dev eth0 in \/run\/netns\/pod.*Nexthop has invalid gateway/,
        ),
      );
      own.addRoute({ ...route, onlink: true });
      assert.equal(own.routes({ family: 4 })[0]?.onlink, true);
    });

    test("a lookup tells gateway, source and interface, or that there is no route", () => {
      using box = pod();
      const own = box.netns.rtnl;
      own.addAddress("eth0", parsePrefix("10.6.0.10/16"));
      own.addRoute({ dst: parsePrefix("10.96.0.0/12"), gw: parseIp("10.6.0.1") });
      const found = own.routeGet(parseIp("10.96.0.1"));
      assert.deepEqual(
        [found?.gw, found?.src, found?.dev],
        [parseIp("10.6.0.1"), parseIp("10.6.0.10"), own.link("eth0")?.index],
      );
      assert.equal(own.routeGet(parseIp("192.0.2.1")), undefined);
      assert.equal(own.routeGet(parseIp("2001:db8::1")), undefined);
    });
  });

  describe("rules", () => {
    test("rules are added, listed in order and deleted in both families", () => {
      using box = pod();
      const own = box.netns.rtnl;
      for (const from of ["10.6.0.10/32", "fd00:6::10/128"].map((text) => parsePrefix(text))) {
        const { family } = from.ip;
        own.addRule({ family, from, table: 1000, pref: 900 });
        own.addRule({ family, fwmark: 1, fwmask: 1, table: 100, pref: 1000 });
        const prefs = () => own.rules(family).map(({ pref, table, fwmark, fwmask }) => [pref, table, fwmark, fwmask]);
        const local = [0, 255, undefined, undefined];
        const main = [32766, 254, undefined, undefined];
        const last = family === 4 ? [[32767, 253, undefined, undefined]] : [];
        assert.deepEqual(prefs(), [local, [900, 1000, undefined, undefined], [1000, 100, 1, 1], main, ...last]);
        assert.deepEqual(own.rules(family)[1]?.from, from);
        assert.throws(
          () => own.addRule({ family, fwmark: 1, fwmask: 1, table: 100, pref: 1000 }),
          refused("EEXIST", /add rule IPv\d pref 1000 from all fwmark 0x1\/0x1 lookup 100 in \/run\/netns\/pod/),
        );
        own.deleteRule({ family, from, table: 1000 });
        assert.equal(
          own.rules(family).some(({ pref }) => pref === 900),
          false,
        );
      }
    });

    test("a rule without preference goes before the lowest that is not the local table's", () => {
      using box = pod();
      box.netns.rtnl.addRule({ family: 4, table: 500, pref: 1000 });
      box.netns.rtnl.addRule({ family: 4, from: parsePrefix("10.6.0.10/32"), table: 101 });
      assert.equal(box.netns.rtnl.rules(4)[1]?.pref, 999);
    });
  });

  test("permanent neighbours are set, replaced, listed and deleted", () => {
    using box = pod();
    const own = box.netns.rtnl;
    for (const address of [parseIp("10.6.0.1"), parseIp("fd00:6::1")]) {
      const { family } = address;
      const listed = () => own.neighbours({ family, link: "eth0" }).filter(({ permanent }) => permanent);
      own.setNeighbour("eth0", address, "02:00:00:00:00:01");
      own.setNeighbour("eth0", address, "02:00:00:00:00:02");
      assert.deepEqual(
        listed().map(({ ip, mac }) => [ip, mac]),
        [[address, "02:00:00:00:00:02"]],
      );
      own.deleteNeighbour("eth0", address);
      assert.deepEqual(listed(), []);
    }
  });

  test("settings are read by netlink as the files show them", () => {
    using box = pod();
    const { rtnl: own } = box.netns;
    assert.equal(own.netconfs(["eth0"], 4)[0]?.rpFilter, 0);
    assert.equal(own.netconfs(["all"], 6)[0]?.forwarding, false);
    assert.equal(own.netconfs(["default"], 4)[0]?.forwarding, false);
  });

  describe("a batch", () => {
    test("puts link, addresses, routes and neighbours into one send", () => {
      using box = pod();
      const own = box.netns.rtnl;
      own.batch((batch) => {
        batch.setLink("eth0", { up: true, mtuBytes: 1400 });
        batch.addAddress("eth0", parsePrefix("10.6.0.10/16"));
        batch.addRoute({ dst: parsePrefix("0.0.0.0/0"), gw: parseIp("10.6.0.1"), dev: "eth0" });
        batch.setNeighbour("eth0", parseIp("10.6.0.1"), "02:00:00:00:00:01");
      });
      assert.equal(own.link("eth0")?.mtuBytes, 1400);
      assert.equal(own.routes({ family: 4 }).length, 2);
    });

    test("goes on after a failure, tolerates what it is told to, and names every failure", () => {
      using box = pod();
      const own = box.netns.rtnl;
      own.addAddress("eth0", parsePrefix("10.6.0.10/16"));
      assert.throws(
        () =>
          own.batch((batch) => {
            batch.addAddress("eth0", parsePrefix("10.6.0.10/16"), { tolerate: ["EEXIST"] });
            batch.addRoute({ dst: parsePrefix("10.8.0.0/16"), gw: parseIp("192.0.2.1") });
            batch.deleteAddress("eth0", parsePrefix("10.9.0.1/24"));
            batch.addRoute({ dst: parsePrefix("10.7.0.0/16"), gw: parseIp("10.6.0.1") });
          }),
        (error) => {
          refused("ENETUNREACH", /add route 10\.8\.0\.0\/16 via 192\.0\.2\.1 in/)(error);
          assert.ok(error instanceof LinuxError);
          const { failures }: { failures?: unknown } = error.details;
          assert.equal(Array.isArray(failures) && failures.length, 2);
          return true;
        },
      );
      assert.ok(own.routes({ family: 4 }).some(({ dst }) => formatPrefix(dst) === "10.7.0.0/16"));
    });

    test("of nothing is nothing", () => rtnl.batch(() => {}));

    test("longer than one send is split", () => {
      using box = pod();
      const own = box.netns.rtnl;
      const addresses = Array.from({ length: 300 }, (_, at) => parsePrefix(`10.6.${at >> 8}.${at & 255}/32`));
      own.batch((batch) => {
        for (const address of addresses) batch.addAddress("eth0", address);
      });
      assert.equal(own.addresses({ link: "eth0", family: 4 }).length, 300);
    });
  });

  after(() => hostNetns().rtnl[Symbol.dispose]());
}
