import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { pbkdf2 } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { promisify } from "node:util";
import { never } from "#base";
import { type Ip, parseIp, parsePrefix } from "#ip";
import { announce } from "./announce.ts";
import { decodeArp, encodeArp, etherTypeArp } from "./arp.ts";
import { LinuxError } from "./errors.ts";
import { readTxChecksum, setTxChecksum } from "./ethtool.ts";
import { libc } from "./libc.ts";
import { monitor, type NetworkEvent, type NetworkTopic } from "./monitor.ts";
import { decodeNdp, encodeNdp, etherTypeIpv6, multicastMac, solicitedNode } from "./ndp.ts";
import { createNetns, hostNetns } from "./netns.ts";
import { ensureReplyMarks, hasReplyMarks } from "./nft/reply-marks.ts";
import { PacketSocket } from "./packet-socket.ts";
import { type ProbeOptions, probe } from "./probe.ts";
import { bootId } from "./process.ts";
import { mainTable } from "./rtnl/route.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";
import { isolated } from "./testing/isolated.ts";

function ip(...argv: string[]): string {
  return execFileSync("ip", argv, { encoding: "utf8" });
}

/** The first event that `wanted` accepts; the monitor ends with it. */
async function seen(events: AsyncIterable<NetworkEvent>, wanted: (event: NetworkEvent) => boolean) {
  for await (const event of events) if (wanted(event)) return event;
  return undefined;
}

if (isolated(import.meta.url)) {
  const host = hostNetns();
  const { rtnl } = host;

  describe("a monitor", () => {
    const start = (...topics: readonly NetworkTopic[]) =>
      monitor(host, { topics, signal: AbortSignal.timeout(120_000) });

    test("sees that somebody flushed the rules", async () => {
      rtnl.addRule({ family: 4, table: 500, pref: 1000 });
      const events = start("rules");
      ip("rule", "flush");
      const event = await seen(events, (event) => event.kind === "rule" && event.rule.table === 500);
      assert.deepEqual(event?.kind === "rule" && [event.action, event.rule.pref], ["delete", 1000]);
      rtnl.addRule({ family: 4, table: mainTable, pref: 32766 }); // the flush took this one too
    });

    test("sees links, addresses, routes and neighbours come and go", async () => {
      const events = start("links", "addresses", "routes", "neighbours");
      rtnl.createVeth({ name: "mon0", up: true, peer: { name: "mon1", up: true } });
      rtnl.addAddress("mon0", parsePrefix("10.1.0.1/24"));
      rtnl.setNeighbour("mon0", parseIp("10.1.0.2"), "02:00:00:00:00:02");
      await rtnl.deleteLinksLater(["mon0"]);
      const kinds = new Set<string>();
      await seen(events, (event) => {
        if (event.kind !== "overrun") kinds.add(`${event.kind} ${event.action}`);
        return event.kind === "link" && event.action === "delete" && event.link.name === "mon0";
      });
      for (const kind of ["link new", "address new", "route new", "neighbour new", "link delete"]) {
        assert.ok(kinds.has(kind), `${kind} of ${[...kinds]}`);
      }
    });

    test("wakes up for losses alone where nothing else is asked for", async () => {
      const events = start("deletedRules", "deletedRoutes", "downLinks");
      const rule = { family: 4, table: 500, pref: 1000 } as const;
      const route = { dst: parsePrefix("10.1.0.0/24"), dev: "mon2", table: 500 };
      rtnl.createLink({ name: "mon2", kind: { kind: "bridge" }, up: true });
      rtnl.setLink("mon2", { mtuBytes: 1400 });
      rtnl.addRoute(route);
      rtnl.deleteRoute(route);
      rtnl.addRule(rule);
      rtnl.deleteRule(rule);
      rtnl.setLink("mon2", { up: false });
      const found: string[] = [];
      await seen(events, (event) => {
        if (event.kind !== "overrun") found.push(`${event.kind} ${event.action}`);
        return event.kind === "link";
      });
      await rtnl.deleteLinksLater(["mon2"]);
      // IPv6 has one more route of its own.
      assert.deepEqual([...new Set(found)], ["route delete", "rule delete", "link new"]);
    });

    test("waits without blocking, several at once, and ends with its signal", { timeout: 240_000 }, async () => {
      const stop = new AbortController();
      const count = () => readdirSync("/proc/self/fd").length;
      const before = count();
      const waiting = [1, 2, 3].map(() => seen(monitor(host, { topics: ["rules"], signal: stop.signal }), () => true));
      await setImmediate();
      stop.abort(new Error("enough"));
      assert.deepEqual(await Promise.all(waiting), [undefined, undefined, undefined]);
      while (count() > before) await setImmediate();
    });

    test("says that it missed events when they were read too slowly", async () => {
      const events = start("addresses");
      rtnl.batch((batch) => {
        for (let at = 0; at < 10_000; at++) {
          const address = parsePrefix(`10.200.${at >> 8}.${at & 255}/32`);
          batch.addAddress("lo", address);
          batch.deleteAddress("lo", address);
        }
      });
      const event = await seen(events, ({ kind }) => kind === "overrun");
      assert.equal(event?.kind, "overrun");
    });

    test("does not keep a process from exiting while it waits", () => {
      const script = `
        import { hostNetns, monitor } from "#linux";
        const events = monitor(hostNetns(), { topics: ["links"], signal: new AbortController().signal });
        setTimeout(() => process.exit(7), 50);
        for await (const event of events);`;
      const { status } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
        cwd: `${import.meta.dirname}/../..`,
        timeout: 240_000,
      });
      assert.equal(status, 7);
    });
  });

  test("TX checksum offload is read and turned off and on", () => {
    using pod = createNetns("/run/netns/ethtool");
    rtnl.createVeth({ name: "eth-h", peer: { name: "eth0", netns: pod } });
    assert.equal(readTxChecksum(pod, "eth0"), true);
    setTxChecksum(pod, "eth0", false);
    assert.equal(readTxChecksum(pod, "eth0"), false);
    setTxChecksum(pod, "eth0", true);
    assert.equal(readTxChecksum(pod, "eth0"), true);
    assert.throws(() => setTxChecksum(pod, "nope", true), {
      code: "ENODEV",
      message: "turn TX checksum offload of nope on in /run/netns/ethtool: No such device",
    });
  });

  test("a setting is written when nobody changes the network: that is waited for asleep, and changes nothing", ({
    mock,
  }) => {
    const before = ip("link", "show", "lo");
    const { mock: waits } = mock.method(libc, "ioctl");
    assert.equal(writeSysctl(host, "net/ipv6/conf/lo/disable_ipv6", 1), true);
    const einval = 22; // The kernel had the lock, and looked at what was asked for.
    assert.deepEqual(
      waits.calls.map(({ result }) => result),
      [-einval],
    );
    assert.equal(ip("link", "show", "lo"), before);
    assert.equal(readSysctl(host, "net/ipv6/conf/lo/disable_ipv6"), "1");
    writeSysctl(host, "net/ipv6/conf/lo/disable_ipv6", 0);
  });

  test("settings belong to the namespace, and a missing one is undefined", () => {
    using pod = createNetns("/run/netns/sysctl");
    const key = "net/ipv4/conf/all/rp_filter";
    assert.equal(writeSysctl(pod, key, 2), true);
    assert.deepEqual([readSysctl(pod, key), pod.rtnl.netconfs(["all"], 4)[0]?.rpFilter], ["2", 2]);
    assert.equal(readSysctl(host, key), readFileSync(`/proc/sys/${key}`, "utf8").trim());
    assert.equal(readSysctl(pod, "net/ipv4/conf/nope/rp_filter"), undefined);
    assert.equal(writeSysctl(pod, "net/ipv4/conf/nope/rp_filter", 1), false);
    assert.throws(
      () => writeSysctl(pod, key, "many"),
      (error) => {
        return (
          error instanceof LinuxError &&
          /write setting net\/ipv4\/conf\/all\/rp_filter in .*Invalid/.test(error.message)
        );
      },
    );
    for (const bad of ["kernel/hostname", "net/../kernel/hostname", "net.ipv4.ip_forward"]) {
      assert.throws(() => readSysctl(pod, bad), RangeError);
    }
  });

  describe("packets", () => {
    test("an announcement reaches the segment for both families", async () => {
      using pod = createNetns("/run/netns/announce");
      const mac = "02:00:00:00:00:77";
      rtnl.createVeth({ name: "ann-h", up: true, peer: { name: "eth0", netns: pod, mac, up: true } });
      const arp = PacketSocket.open(host, "ann-h", etherTypeArp);
      const ndp = PacketSocket.open(host, "ann-h", etherTypeIpv6);
      const signal = AbortSignal.timeout(120_000);
      const [v4, v6] = [parseIp("10.6.0.10"), parseIp("fd00:6::10")];
      await announce(pod, "eth0", [v4, v6]);
      assert.deepEqual(decodeArp((await arp.receive({ signal })).payload), {
        operation: "request",
        senderMac: mac,
        senderIp: v4,
        targetMac: "ff:ff:ff:ff:ff:ff",
        targetIp: v4,
      });
      for (;;) {
        const packet = decodeNdp((await ndp.receive({ signal })).payload); // the kernel's own solicitations come too
        if (packet?.kind !== "advertisement") continue;
        assert.deepEqual([packet.target, packet.mac, packet.override], [v6, mac, true]);
        break;
      }
      await Promise.all([arp.close(), ndp.close()]);
      await assert.rejects(announce(pod, "nope", [v4]), { code: "ENODEV" });
    });

    test("a probe finds who has an address, and nobody where all are silent", async () => {
      using pod = createNetns("/run/netns/probe");
      const pair = rtnl.createVeth({ name: "probe-h", up: true, peer: { name: "eth0", netns: pod, up: true } });
      pod.rtnl.addAddress("eth0", parsePrefix("10.6.0.10/24"));
      pod.rtnl.addAddress("eth0", parsePrefix("fd00:6::10/64"), { nodad: true });
      const [source4, source6] = [parseIp("10.6.0.1"), parseIp("fd00:6::1")];
      const ask = (address: string, options: Partial<ProbeOptions> = {}) =>
        probe(host, "probe-h", parseIp(address), { timeoutMs: 30_000, signal: never, ...options });
      // Without an address of its own, as for a conflict, and with one, as for a gateway.
      for (const address of ["10.6.0.10", "fd00:6::10"]) assert.equal(await ask(address), pair.peer.mac);
      assert.equal(await ask("10.6.0.10", { source: source4 }), pair.peer.mac);
      assert.equal(await ask("fd00:6::10", { source: source6 }), pair.peer.mac);
      const short = { timeoutMs: 20 };
      for (const address of ["10.6.0.11", "fd00:6::11"]) assert.equal(await ask(address, short), undefined);
      assert.equal(await ask("fd00:6::11", { ...short, source: source6 }), undefined);
      const aborted = new Error("stop");
      await assert.rejects(ask("10.6.0.11", { signal: AbortSignal.abort(aborted) }), aborted);
    });

    test("a probe hears an answer that came in time where this process had no time to look", async () => {
      using pod = createNetns("/run/netns/late");
      rtnl.createVeth({ name: "late-h", up: true, peer: { name: "eth0", netns: pod, up: true } });
      const arp = PacketSocket.open(pod, "eth0", etherTypeArp);
      const [senderIp, targetIp] = [parseIp("10.6.0.10"), parseIp("0.0.0.0")];
      // Work of another kind has every thread of the pool, the one that waits for packets, too.
      const busy = Array.from({ length: 8 }, () => promisify(pbkdf2)("", "", 100_000, 64, "sha512"));
      const asked = probe(host, "late-h", senderIp, { timeoutMs: 20, signal: never });
      arp.send({
        destination: "ff:ff:ff:ff:ff:ff",
        etherType: etherTypeArp,
        payload: encodeArp({ operation: "reply", senderMac: arp.mac, senderIp, targetMac: arp.mac, targetIp }),
      });
      assert.equal(await asked, arp.mac);
      await Promise.all([...busy, arp.close()]);
    });

    test("a probe is repeated while nobody answers, and hears of others only what is about its address", async () => {
      using pod = createNetns("/run/netns/other");
      rtnl.createVeth({ name: "other-h", up: true, peer: { name: "eth0", netns: pod, up: true } });
      const signal = AbortSignal.timeout(120_000);
      const [ours, theirs] = [parseIp("10.6.0.30"), parseIp("10.6.0.31")];
      const [ours6, theirs6, any6] = [parseIp("fd00:6::30"), parseIp("fd00:6::31"), parseIp("::")];
      const [arp, ndp] = [etherTypeArp, etherTypeIpv6].map((type) => PacketSocket.open(pod, "eth0", type)) as [
        PacketSocket,
        PacketSocket,
      ];
      ndp.receiveAllMulticast();
      const say = (operation: "request" | "reply", senderIp: Ip, targetIp: Ip) =>
        arp.send({
          destination: "ff:ff:ff:ff:ff:ff",
          etherType: etherTypeArp,
          payload: encodeArp({ operation, senderMac: arp.mac, senderIp, targetMac: arp.mac, targetIp }),
        });
      const solicit = (source: Ip, target: Ip) =>
        ndp.send({
          destination: multicastMac(solicitedNode(target)),
          etherType: etherTypeIpv6,
          payload: encodeNdp({
            kind: "solicitation",
            source,
            destination: solicitedNode(target),
            target,
            mac: undefined,
            solicited: false,
            override: false,
          }),
        });
      const asked = async (socket: PacketSocket, about: (payload: Uint8Array) => boolean) => {
        while (!about((await socket.receive({ signal })).payload));
      };
      const askedFor4 = () => asked(arp, (payload) => decodeArp(payload)?.targetIp.value === ours.value);
      const askedFor6 = () => asked(ndp, (payload) => decodeNdp(payload)?.target.value === ours6.value);
      const ask = (ip: Ip, source?: Ip) =>
        probe(host, "other-h", ip, { timeoutMs: 3000, signal, ...(source && { source }) });
      for (const [what, ip, heard, speak] of [
        ["a reply", ours, askedFor4, () => say("reply", ours, theirs)],
        ["a request from it", ours, askedFor4, () => say("request", ours, theirs)],
        ["somebody who probes for it, too", ours, askedFor4, () => say("request", parseIp("0.0.0.0"), ours)],
        ["somebody who makes sure of it, too", ours6, askedFor6, () => solicit(any6, ours6)],
      ] as const) {
        const answer = ask(ip);
        await heard();
        await heard(); // the first was repeated
        say("reply", theirs, ours);
        solicit(any6, theirs6);
        solicit(theirs6, ours6);
        speak();
        assert.equal(await answer, arp.mac, what);
      }
      await Promise.all([arp.close(), ndp.close()]);
    });
  });

  describe("reply marks", () => {
    test("are put in once, found, and replaced for another interface", () => {
      using pod = createNetns("/run/netns/marks");
      assert.equal(hasReplyMarks(pod, "veth0", 1), false);
      ensureReplyMarks(pod, "veth0", 1);
      ensureReplyMarks(pod, "veth0", 1);
      assert.deepEqual([hasReplyMarks(pod, "veth0", 1), hasReplyMarks(pod, "veth0", 2)], [true, false]);
      ensureReplyMarks(pod, "veth1", 2);
      assert.deepEqual([hasReplyMarks(pod, "veth0", 1), hasReplyMarks(pod, "veth1", 2)], [false, true]);
      assert.equal(hasReplyMarks(host, "veth1", 2), false);
    });

    const nft = spawnSync("nft", ["--version"]).error === undefined;
    test("read in nft(8) as they are meant", { skip: nft ? false : "needs nft" }, () => {
      using pod = createNetns("/run/netns/nft");
      ensureReplyMarks(pod, "veth0", 1);
      const text = pod.enter(() => execFileSync("nft", ["list", "ruleset"], { encoding: "utf8" }));
      assert.deepEqual(text.replaceAll(/0x0+/g, "0x").split(/\s*\n\s*/), [
        "table inet spiderpool {",
        "chain prerouting {",
        "type filter hook prerouting priority mangle; policy accept;",
        'iifname "veth0" ct state new meta mark set meta mark | 0x1 comment "replies to veth0, mark 0x1"',
        'meta mark & 0x1 == 0x1 ct mark set ct mark | 0x1 comment "replies to veth0, mark 0x1"',
        "}",
        "chain output {",
        "type route hook output priority mangle; policy accept;",
        'ct mark & 0x1 == 0x1 meta mark set meta mark | 0x1 comment "replies to veth0, mark 0x1"',
        "}",
        "}",
        "",
      ]);
    });

    test("send a reply back by the interface of its request, where the default route leads elsewhere", () => {
      using pod = createNetns("/run/netns/reply");
      const { peer, mac } = rtnl.createVeth({ name: "rep-h", up: true, peer: { name: "veth0", netns: pod, up: true } });
      rtnl.createVeth({ name: "rep-lan", up: true, peer: { name: "eth0", netns: pod, up: true } });
      rtnl.addAddress("lo", parsePrefix("10.9.9.9/32"));
      rtnl.addRoute({ dst: parsePrefix("10.6.0.10/32"), dev: "rep-h", src: parseIp("10.9.9.9") });
      rtnl.setNeighbour("rep-h", parseIp("10.6.0.10"), peer.mac);
      pod.rtnl.batch((batch) => {
        batch.addAddress("eth0", parsePrefix("10.6.0.10/24"));
        batch.addRoute({ dst: parsePrefix("0.0.0.0/0"), gw: parseIp("10.6.0.1"), dev: "eth0" });
        batch.addRule({ family: 4, fwmark: 1, fwmask: 1, table: 100, pref: 1000 });
        const gw = parseIp("10.9.9.9");
        batch.addRoute({ dst: parsePrefix("0.0.0.0/0"), gw, dev: "veth0", table: 100, onlink: true });
        batch.setNeighbour("veth0", gw, mac);
      });
      const ping = (...patience: string[]) => spawnSync("ping", ["-c", "1", ...patience, "10.6.0.10"]).status;
      assert.equal(ping("-W", "0.3"), 1);
      ensureReplyMarks(pod, "veth0", 1);
      assert.equal(ping("-i", "0.2", "-w", "60"), 0);
    });
  });

  test("the boot has an identifier", () => assert.match(bootId(), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/));
}
