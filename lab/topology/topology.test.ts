import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { isolated } from "../../src/linux/testing/isolated.ts";
import {
  createBridges,
  createDatabase,
  createNetworks,
  enterLab,
  type LabNode,
  type Networks,
  nodePlan,
  run,
  startNode,
  startOpenVswitch,
} from "./index.ts";

/** Larger than one segment, so that checksums of full-size frames count too. */
const page = "0123456789".repeat(5_000);

/** Fetches the page from `address` with the tools of every machine. */
function fetchPage(from: LabNode, address: string): Promise<string> {
  return from.run(["timeout", "60", "curl", "--silent", "--show-error", "--noproxy", "*", `http://${address}/page`]);
}

if (isolated(import.meta.url)) {
  let networks: Networks;
  let database: string;
  let node1: LabNode;
  let node2: LabNode;

  before(async () => {
    enterLab();
    [networks, database] = await Promise.all([createNetworks(), createDatabase()]);
    const start = async (index: number) => {
      const node = await startNode(nodePlan(index), networks);
      await startOpenVswitch(node, database);
      return node;
    };
    [node1, node2] = await Promise.all([start(0), start(1)]);
    mkdirSync("/run/www");
    writeFileSync("/run/www/page", page);
    const serve = ["busybox", "httpd", "-p", "80", "-h"];
    await run(["nsenter", "--net=/run/netns/switch", ...serve, "/run/www"]);
    await node1.run(["sh", "-c", "mkdir /run/www && cat >/run/www/page"], { input: page });
    await node1.run([...serve, "/run/www"]);
  });

  after(async () => {
    await Promise.all([node1.powerOff(), node2.powerOff()]);
  });

  test("a node has its own host name, processes and an empty /run, and changes nothing of the host's files", async () => {
    assert.equal(await node1.run(["hostname"]), "node1\n");
    assert.match(await node1.run(["cat", "/proc/1/cmdline"]), /^sh\0-s\0node1/);
    await node1.run([
      "sh",
      "-c",
      "echo x >/etc/only-here; echo x >/var/lib/only-here; echo x >/etc/cni/net.d/only-here",
    ]);
    for (const path of ["/etc/only-here", "/var/lib/only-here"]) {
      await assert.rejects(run(["cat", path]), { code: "LAB_COMMAND" });
      await assert.rejects(node2.run(["cat", path]), { code: "LAB_COMMAND" });
    }
  });

  test("a node runs none of the machine's container runtimes: it has no settings of theirs until somebody writes some", async () => {
    const settings = ["sh", "-c", "ls -d /etc/containerd /etc/crio 2>/dev/null || true"];
    assert.equal(await node1.run(settings), "");
    await node2.run(["sh", "-c", "mkdir /etc/crio && echo x >/etc/crio/crio.conf"]);
  });

  test("nodes reach each other, the gateway and the management network, by ping and by TCP, before there are bridges", async () => {
    await node2.run(["ping", "-c1", "-i0.2", "-w60", "10.222.0.1"]);
    await node2.run(["ping", "-c1", "-i0.2", "-w60", "fd00:172:18::11"]);
    assert.equal(await fetchPage(node2, "172.18.0.11"), page);
    assert.equal(await fetchPage(node2, "172.18.0.1"), page);
  });

  test("the same holds over bridges of the userspace datapath, in both families", async () => {
    for (const node of [node1, node2]) {
      const commands = await createBridges(node);
      assert.equal(commands[1], "ovs-vsctl --may-exist add-port br1 eth0");
    }
    await node2.run(["ping", "-c1", "-i0.2", "-w60", "172.18.0.11"]);
    assert.equal(await fetchPage(node2, "172.18.0.11"), page);
    assert.equal(await fetchPage(node2, "172.18.0.1"), page);
    assert.equal(await fetchPage(node2, "[fd00:172:18::11]"), page);
    assert.match(await node2.run(["ovs-vsctl", "show"]), /Bridge br1[\s\S]*Port eth0/);
  });

  test("a node whose plug was pulled is gone at once and comes back with its disk and an empty /run", async () => {
    const process1 = node2.pid;
    await node2.run(["touch", "/var/lib/kubelet/kept", "/run/lost"]);
    await node2.powerOff();
    await assert.rejects(run(["kill", "-0", String(process1)]), { code: "LAB_COMMAND" });
    node2 = await startNode(nodePlan(1), networks);
    await startOpenVswitch(node2, database);
    await createBridges(node2);
    await node2.run(["test", "-e", "/var/lib/kubelet/kept", "-a", "!", "-e", "/run/lost"]);
    assert.equal(await node2.run(["cat", "/etc/crio/crio.conf"]), "x\n");
    assert.equal(await fetchPage(node2, "172.18.0.11"), page);
  });

  test("a program on a node can be signalled, and its end is told", async () => {
    const sleeper = node1.spawn({
      argv: ["sh", "-c", "trap 'exit 7' TERM; echo up; sleep 60 & wait"],
      logFile: "/run/log",
    });
    await run(["timeout", "120", "sh", "-c", "until grep -q up /run/log; do sleep 0.02; done"]);
    sleeper.kill("SIGTERM");
    assert.equal(await sleeper.exited, 7);
  });
}
