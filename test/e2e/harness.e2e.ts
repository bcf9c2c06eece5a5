import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { it } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "../../src/base/testing/until.ts";
import { launchCluster } from "../cluster/launch.ts";
import { clusterMarker } from "../cluster/protocol.ts";
import { apiOf } from "../conformance/api.ts";
import { figure } from "./figures.ts";
import { pod } from "./workloads.ts";

const endMsMax = 120_000;
const namespaceKinds = ["net", "mnt", "pid", "uts"];

/** The namespaces of a process; none where it has ended meanwhile. */
function namespacesOf(pid: number): readonly string[] {
  return namespaceKinds.flatMap((kind) => {
    try {
      return [readlinkSync(`/proc/${pid}/ns/${kind}`)];
    } catch {
      return [];
    }
  });
}

const pids = () =>
  readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0);
/** Those of this process: other suites' clusters come and go meanwhile. */
const cgroups = () => globSync(`/sys/fs/cgroup/{,*/}${clusterMarker}-${process.pid}-*`);

it("a cluster with a running Pod leaves no process, namespace, mount, control group or file", async () => {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8");
  const startedMs = performance.now();
  const cluster = await launchCluster({ nodes: 2 });
  figure("cluster up from cached binaries, s", (performance.now() - startedMs) / 1000);
  const own = new Set(namespacesOf(process.pid));
  const inside = new Set(namespacesOf(cluster.pid).filter((one) => !own.has(one)));
  assert.ok(inside.size >= 3, [...inside].join(" "));
  const api = apiOf(cluster.kubeconfig);
  const pods = "/api/v1/namespaces/default/pods";
  assert.equal((await api.call("POST", pods, pod("plain", { annotations: {} }))).status, 201);
  const running = async () => (await api.call("GET", `${pods}/plain`)).body.status.phase === "Running";
  await until("the Pod runs on the node's own network", running, Boolean, { withinMs: 300_000, everyMs: 100 });
  const made = cgroups();
  assert.ok(made.length > 0, "its control groups were found");
  await cluster.stop();
  const left = () => ({
    processes: pids().filter((pid) => namespacesOf(pid).some((one) => inside.has(one))),
    cgroups: made.filter((path) => existsSync(path)),
    files: existsSync(cluster.directory) ? [cluster.directory] : [],
  });
  const isClean = (now: ReturnType<typeof left>) => Object.values(now).every((things) => things.length === 0);
  await until("nothing is left", left, isClean, { withinMs: endMsMax, everyMs: 50 });
  assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), mounts);
});

it("`npm run cluster`: after `up` has ended, kubectl and helm reach the cluster, until `down`", () => {
  const command = (...args: readonly string[]) => {
    const bootstrap = fileURLToPath(new URL("../../scripts/bootstrap/bootstrap.cjs", import.meta.url));
    // Beside the cluster with which somebody plays meanwhile.
    const env = { ...process.env, SPIDERPOOL_CLUSTER: String(process.pid) };
    const { status, stdout, stderr } = spawnSync("node", [bootstrap, "cluster", ...args], { encoding: "utf8", env });
    assert.equal(status, 0, `${args.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  };
  assert.match(command("up", "1"), /npm run cluster -- helm install/);
  try {
    assert.match(command("kubectl", "get", "nodes"), /^node1 +Ready /m);
    assert.match(command("helm", "list", "--all-namespaces"), /^NAME/);
  } finally {
    command("down");
  }
});
