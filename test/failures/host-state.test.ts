import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { LabHandle } from "../../lab/launch.ts";
import type { Stage } from "../../lab/scenarios/stage.ts";
import { startStage } from "../stage.ts";

/** Ends as soon as the node's rule and a Pod's route are there, or after 5 s in vain. */
const untilBoth = `until ip rule show pref 1000 | grep -q "lookup 500" && ip route show table 500 | grep -q "^172.18.30."
do sleep 0.05; done`;

/** Part of the package systemd; Debian and Ubuntu have it also where it does not run. */
const networkd = "/usr/lib/systemd/systemd-networkd";
/**
 * It takes away what it did not make whenever it configures a link; /sys read-only tells it that it need not wait for udev.
 * Ends when it has taken the rule.
 */
const foreignRemoved = `mkdir -p /run/systemd/network /run/systemd/netif/links
printf '[Match]\nName=nd0\n[Network]\nLinkLocalAddressing=no\nAddress=192.0.2.9/24\n' >/run/systemd/network/10-nd0.network
chown -R systemd-network /run/systemd/netif
ip monitor rule >/run/seen 2>&1 & seen=$!
unshare --mount sh -c 'mount --bind /sys /sys; mount -o remount,bind,ro /sys; exec ${networkd}' >/dev/null 2>&1 & networkd=$!
until grep -q 'Deleted 1000:.*lookup 500' /run/seen; do
  ip link add nd0 type veth peer name nd1; sleep 0.2; ip link del nd0
done
kill -KILL $seen $networkd; rm -r /run/systemd/network /run/systemd/netif /run/seen`;

describe("host rules and routes of running Pods", () => {
  let lab: LabHandle;
  let stage: Stage;
  before(async () => {
    stage = await startStage({ nodes: 2, apply: ["pool", "network", "app"] });
    ({ lab } = stage);
    await stage.kubectl("rollout", "status", "deployment/test-app", "--timeout=120s");
    assert.deepEqual(stage.failures, []);
  });
  after(() => lab.stop());

  const onNode1 = (...argv: readonly string[]) => lab.run({ node: "node1", argv });
  const addressOnNode1 = async () => {
    const path = `jsonpath={range .items[?(@.spec.nodeName=="node1")]}{.status.podIP}{end}`;
    return (await stage.quiet("get", "po", "-o", path)).stdout;
  };
  const pageFrom = async (node: string) => {
    const url = `http://${await addressOnNode1()}/`;
    return lab.run({ node, argv: ["timeout", "60", "busybox", "wget", "-qO-", url] });
  };

  for (const [what, ...command] of [
    ["rules were flushed", "ip", "rule", "flush"],
    ["routes were flushed", "ip", "route", "flush", "table", "500"],
  ] as const) {
    it(`are restored after all ${what}`, async () => {
      await onNode1(...command);
      if (what.startsWith("rules")) {
        // A flush takes the kernel's own rules, too; those are the administrator's to put back.
        const own = "ip rule add protocol kernel pref";
        await onNode1("sh", "-c", `${own} 32766 lookup main; ${own} 32767 lookup default`);
      }
      await onNode1("timeout", "120", "sh", "-c", untilBoth);
      assert.match(await pageFrom("node1"), /^test-app-/);
    });
  }

  if (existsSync(networkd)) {
    it("are restored after systemd-networkd removed what it had not made", async () => {
      await onNode1("timeout", "120", "sh", "-c", foreignRemoved);
      await onNode1("timeout", "120", "sh", "-c", untilBoth);
      assert.match(await pageFrom("node1"), /^test-app-/);
    });
  }

  it("are joined by a route in the Pod to a range that the SpiderCoordinator gets meanwhile", async () => {
    const ranges = (...hijackCIDR: readonly string[]) =>
      stage.quiet(
        ...["patch", "spidercoordinator", "default", "--type", "merge"],
        ...["-p", JSON.stringify({ spec: { hijackCIDR } })],
      );
    assert.ok((await ranges("169.254.0.0/16", "10.200.0.0/16")).ok);
    const inPods = "for pod in /var/run/netns/*; do nsenter --net=$pod ip route; done";
    const script = `until { ${inPods}; } | grep -q "^10.200.0.0/16 via .* dev veth0"; do sleep 0.05; done`;
    await onNode1("timeout", "60", "sh", "-c", script);
    assert.ok((await ranges("169.254.0.0/16")).ok);
  });

  it("are restored after their link was taken down and up again", async () => {
    const veth = (await onNode1("ip", "-o", "route", "show", "table", "500")).match(/dev (veth\S+)/)?.[1] ?? "";
    await onNode1("ip", "link", "set", veth, "down");
    await onNode1("timeout", "120", "sh", "-c", untilBoth);
    assert.match(await pageFrom("node1"), /^test-app-/);
  });

  it("come with the port on the bridge, which is made again when somebody deletes it or takes its link down", async () => {
    const veth = (await onNode1("ovs-vsctl", "list-ports", "br1")).match(/^veth\S+/m)?.[0] ?? "";
    const untilServed = `until ovs-vsctl get interface ${veth} ofport | grep -q "^[1-9]"; do sleep 0.05; done`;
    await onNode1("ovs-vsctl", "del-port", veth);
    await onNode1("timeout", "120", "sh", "-c", untilServed);
    assert.match(await pageFrom("node2"), /^test-app-/);
    await onNode1("ip", "link", "set", veth, "down");
    await onNode1("timeout", "120", "sh", "-c", `until ip link show ${veth} up | grep -q UP; do sleep 0.05; done`);
    assert.match(await pageFrom("node2"), /^test-app-/);
  });

  it("are restored by the next agent when they were lost while there was none", async () => {
    const veth = (await onNode1("ovs-vsctl", "list-ports", "br1")).match(/^veth\S+/m)?.[0] ?? "";
    await lab.hold({ node: "node1", program: "agent", held: true });
    await onNode1("ip", "rule", "del", "pref", "1000");
    await onNode1("ip", "route", "flush", "table", "500");
    await onNode1("ovs-vsctl", "del-port", veth);
    await lab.hold({ node: "node1", program: "agent", held: false });
    await onNode1("timeout", "120", "sh", "-c", untilBoth);
    await onNode1(
      ...["timeout", "120", "sh", "-c"],
      `until ovs-vsctl get interface ${veth} ofport 2>&1 | grep -q "^[1-9]"; do sleep 0.05; done`,
    );
    for (const node of ["node1", "node2"]) assert.match(await pageFrom(node), /^test-app-/);
  });
});
