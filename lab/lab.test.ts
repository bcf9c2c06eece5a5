import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";
import { until } from "../src/base/testing/until.ts";
import { createLabClient, type LabClient } from "./api/index.ts";
import { conditionOf, type Node, type Pod } from "./controllers/index.ts";
import { type LabHandle, launchLab } from "./launch.ts";
import { chooseLab, findLabs, shellCommand, shellHint } from "./shell.ts";
import { installToyNetwork } from "./testing/toy-network.ts";
import { run } from "./topology/index.ts";

const skip = process.getuid?.() === 0 ? false : "needs root to make namespaces";
const deadlineMs = 60_000;

/** Resolves with the first state of an object that satisfies `holds`; undefined stands for its absence. */
async function shows<T extends object>(
  resource: string,
  name: string,
  holds: (object: T | undefined) => boolean,
): Promise<T | undefined> {
  const namespace = resource === "v1/nodes" ? {} : { namespace: "default" };
  const found = Promise.withResolvers<T | undefined>();
  const stop = new AbortController();
  const timer = setTimeout(() => found.reject(new Error(`${resource} ${name} did not become so`)), deadlineMs);
  const options = { ...namespace, fieldSelector: `metadata.name=${name}`, signal: stop.signal };
  let last: T | undefined;
  const watch = client.watch<T>(resource, options, ({ type, object }) => {
    last = type === "DELETED" ? undefined : object;
    if (holds(last)) found.resolve(last);
  });
  watch.done.catch(() => {});
  // What has gone before the watch begins makes no event.
  void watch.synced.then(() => last === undefined && holds(last) && found.resolve(last));
  try {
    return await found.promise;
  } finally {
    clearTimeout(timer);
    stop.abort(new Error("found"));
  }
}

function podOn(node: string, name: string, command: readonly string[], restartPolicy = "Always"): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    spec: {
      nodeName: node,
      restartPolicy,
      terminationGracePeriodSeconds: 5,
      containers: [{ name: "main", image: "none", command }],
    },
  };
}

const isRunning = (pod: Pod | undefined) => pod !== undefined && conditionOf(pod, "Ready") === "True";

/** One exec through the API: what came on each channel, as text. */
async function exec(pod: string, argv: readonly string[], stdin?: string): Promise<Readonly<Record<number, string>>> {
  const query = new URLSearchParams(argv.map((word): [string, string] => ["command", word]));
  for (const [name, on] of Object.entries({ stdin: stdin !== undefined, stdout: true, stderr: true }))
    query.set(name, String(on));
  const url = `${lab.url.replace("http", "ws")}/api/v1/namespaces/default/pods/${pod}/exec?container=main&${query}`;
  const ws = new WebSocket(url, "v5.channel.k8s.io");
  const received: Record<number, string> = {};
  ws.on("message", (data: Buffer) => {
    const [channel = 0] = data;
    received[channel] = (received[channel] ?? "") + data.subarray(1).toString();
  });
  ws.on("open", () => {
    if (stdin === undefined) return;
    ws.send(Buffer.concat([Buffer.of(0), Buffer.from(stdin)]));
    ws.send(Buffer.of(255, 0));
  });
  await once(ws, "close");
  return received;
}

let lab: LabHandle;
let client: LabClient;

before(
  async () => {
    if (skip !== false) return;
    lab = await launchLab({ nodes: 2, bridges: true });
    client = createLabClient({ baseUrl: lab.url });
    await installToyNetwork(lab);
  },
  { timeout: 240_000 },
);
after(async () => await lab?.stop());

test("a node is ready once it has a CNI configuration, and copies announced resources", { skip }, async () => {
  for (const { name } of lab.nodes)
    await shows<Node>("v1/nodes", name, (node) => node !== undefined && conditionOf(node, "Ready") === "True");
  const resource = "ovs-cni.network.kubevirt.io/br1";
  const announce = (value: string | null) =>
    client.patch(
      "v1/nodes",
      { name: "node1" },
      { status: { capacity: { [resource]: value } } },
      { subresource: "status" },
    );
  await announce("1000");
  await shows<Node>("v1/nodes", "node1", (node) => node?.status?.allocatable?.[resource] === "1k");
  await announce(null);
  const node = await shows<Node>("v1/nodes", "node1", (one) => one?.status?.allocatable?.[resource] === undefined);
  assert.equal(node?.status?.allocatable?.["pods"], "110");
});

test("Pods on two nodes run, reach each other, have logs and exec, and leave nothing when they are deleted", {
  skip,
}, async () => {
  await client.create("v1/pods", podOn("node1", "left", ["sh", "-c", "echo hello from $HOSTNAME; exec sleep 1000"]));
  await client.create("v1/pods", podOn("node2", "right", ["sleep", "1000"]));
  const left = await shows<Pod>("v1/pods", "left", isRunning);
  const right = await shows<Pod>("v1/pods", "right", isRunning);
  assert.equal(left?.status?.podIP, "172.18.101.1");
  assert.equal(right?.status?.hostIP, "10.222.0.12");

  const ping = await exec("left", ["ping", "-c1", "-i0.2", "-w5", "172.18.102.1"]);
  assert.match(ping[1] ?? "", /1 received/);
  assert.match(ping[3] ?? "", /"Success"/);
  const cat = await exec("left", ["sh", "-c", "cat; hostname; exit 7"], "typed\n");
  assert.equal(cat[1], "typed\nleft\n");
  assert.match(cat[3] ?? "", /NonZeroExitCode.*"7"/);
  const log = await run(["curl", "--silent", "--noproxy", "*", `${lab.url}/api/v1/namespaces/default/pods/left/log`]);
  assert.equal(log, "hello from left\n");

  for (const name of ["left", "right"]) {
    await client.delete("v1/pods", { namespace: "default", name });
    await shows<Pod>("v1/pods", name, (pod) => pod === undefined);
  }
  assert.equal(await lab.run({ node: "node1", argv: ["ovs-vsctl", "list-ports", "br1"] }), "eth0\n");
  assert.equal(
    await lab
      .run({ node: "node1", argv: ["ls", "/run/netns", "/var/lib/kubelet/sandboxes"] })
      .then((text) => /cni-|json/.test(text)),
    false,
  );
});

test("a Pod whose network is refused says why in an Event and starts by itself when it is not refused any more", {
  skip,
}, async () => {
  await lab.run({ node: "node1", argv: ["touch", "/var/lib/cni/full"] });
  await client.create("v1/pods", podOn("node1", "eleventh", ["sleep", "1000"]));
  const refused = Promise.withResolvers<string>();
  const stop = new AbortController();
  const events = { namespace: "default", signal: stop.signal };
  client
    .watch<{ reason: string; message: string }>("v1/events", events, ({ object }) => {
      if (object.reason === "FailedCreatePodSandBox") refused.resolve(object.message);
    })
    .done.catch(() => {});
  assert.match(
    await refused.promise,
    /^Failed to create pod sandbox: .*plugin type="toy" name="toy" failed \(add\): pool full$/,
  );
  stop.abort(new Error("seen"));
  await lab.run({ node: "node1", argv: ["rm", "/var/lib/cni/full"] });
  await shows<Pod>("v1/pods", "eleventh", isRunning);
});

test("after a loss of power a node calls DEL for what it had, and its Pods run again", { skip }, async () => {
  const containerOf = async () =>
    (await lab.run({ node: "node1", argv: ["tail", "-n1", "/var/log/toy"] })).trim().split(" ")[1];
  const lost = await containerOf();
  await lab.powerOff({ node: "node1" });
  await lab.powerOn({ node: "node1" });
  const pod = await shows<Pod>("v1/pods", "eleventh", (one) => isRunning(one) && one?.status?.podIP === "172.18.101.3");
  assert.equal(pod?.spec.nodeName, "node1");
  const calls = await lab.run({ node: "node1", argv: ["cat", "/var/log/toy"] });
  assert.ok(calls.includes(`DEL ${lost}`));
});

test("a container that ends is started again or not, as its policy says", { skip }, async () => {
  await client.create("v1/pods", podOn("node2", "once", ["sh", "-c", "exit 4"], "Never"));
  const once = await shows<Pod>("v1/pods", "once", (pod) => pod?.status?.phase === "Failed");
  assert.equal(once?.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 4);
  await client.create("v1/pods", podOn("node2", "again", ["sh", "-c", "exit 4"]));
  const again = await shows<Pod>(
    "v1/pods",
    "again",
    (pod) => (pod?.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0,
  );
  assert.equal(again?.status?.phase, "Running");
});

test("a shell from outside finds the lab and its nodes", { skip }, async () => {
  assert.ok(findLabs().includes(lab.pid));
  assert.equal(await run(shellCommand(lab.pid, "node2", ["hostname"])), "node2\n");
  assert.match(await run(shellCommand(lab.pid, undefined, ["ip", "-brief", "address"])), /10\.222\.0\.1\/24/);
  assert.throws(() => shellCommand(lab.pid, "node9", []), /no node 'node9': the nodes are node1, node2/);
  const name = basename(lab.directory).replace(/^.*-/, "");
  assert.equal(chooseLab(name), lab.pid);
  assert.throws(
    () => chooseLab("nosuch"),
    new RegExp(`no lab of the name 'nosuch'.*\n.*--lab ${name}  node1, node2`, "s"),
  );
  assert.match(shellHint(lab)[1], /^npm run shell -- (--lab \S+ )?--node node1$/);
});

test("nothing outlives a launcher that is killed", { skip }, async () => {
  const script = fileURLToPath(new URL("./testing/launcher.ts", import.meta.url));
  const launcher = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(launcher.stdout, "data")) as [Buffer];
  const { pid, directory, url } = JSON.parse(line.toString()) as { pid: number; directory: string; url: string };
  const processes = descendants(pid);
  assert.ok(processes.length > 5, "a supervisor, a node's first process, its Open vSwitch, its kubelet");
  launcher.kill("SIGKILL");
  await once(launcher, "exit");
  const gone = () => !existsSync(directory) && processes.every((one) => !existsSync(`/proc/${one}`));
  await until("all of it is gone", gone, Boolean, { withinMs: deadlineMs });
  await assert.rejects(fetch(url));
});

/** A process and everything below it, as the host sees them. */
function descendants(pid: number): readonly number[] {
  const parents = readdirSync("/proc")
    .map(Number)
    .filter((one) => one > 0)
    .map((one) => [one, parentOf(one)] as const);
  const below = (of: number): readonly number[] => [
    of,
    ...parents.filter(([, parent]) => parent === of).flatMap(([one]) => below(one)),
  ];
  return below(pid);
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  } catch {
    return undefined;
  }
}
