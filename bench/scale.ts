import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { buildBundles } from "../scripts/build.ts";
import { round } from "./report.ts";
import type { Report } from "./sections.ts";

const ours = "/apis/spiderpool.spidernet.io/v2beta1";
const poolSize = 30_000;
const nodeCount = 1_000;

/** What a large cluster has. */
export interface ScaleOptions {
  readonly claims: number;
  /** Pods that hold them, two claims each; 0: the controller sees none. */
  readonly pods: number;
}

/** How a controller came up. */
export interface ControllerScale {
  readonly readySeconds: number;
  /** Once it is ready and has been at rest for a while. */
  readonly rssMb: number;
  readonly peakRssMb: number;
  readonly cpuSeconds: number;
}

/** A controller that starts in a cluster of 150,000 Pods with two addresses each. */
export async function claimsAtStart(): Promise<Report> {
  const options = { claims: 300_000, pods: 150_000 };
  const found = await measureController(options);
  const figures = {
    ...options,
    readySeconds: round(found.readySeconds, 1),
    rssMb: round(found.rssMb, 1),
    peakRssMb: round(found.peakRssMb, 1),
    cpuSeconds: round(found.cpuSeconds, 1),
  };
  const line = `ready after ${figures.readySeconds} s (${figures.cpuSeconds} s CPU), ${figures.rssMb} MB, at most ${figures.peakRssMb} MB`;
  return { figures, lines: [line] };
}

/** Starts the controller against an API server that has nothing but many claims, and says what that took. */
async function measureController(options: ScaleOptions): Promise<ControllerScale> {
  const { controller } = await buildBundles();
  const server = await serve(options);
  const { port } = server.address() as AddressInfo;
  const folder = mkdtempSync(join(tmpdir(), "scale-"));
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(kubeconfig, kubeconfigOf(`http://127.0.0.1:${port}`));
  const healthPort = 20_000 + (process.pid % 10_000);
  const ports = ["--health-port", String(healthPort), "--webhook-port", String(healthPort + 1)];
  const startMs = performance.now();
  const child = spawn(
    process.execPath,
    [controller, "daemon", "--kubeconfig", kubeconfig, "--bind-address", "127.0.0.1", ...ports],
    {
      env: {
        SPIDERPOOL_POD_NAME: "controller",
        SPIDERPOOL_POD_NAMESPACE: "kube-system",
        SPIDERPOOL_LOG_LEVEL: "error",
      },
      stdio: ["ignore", "inherit", "inherit"],
    },
  );
  const exited = once(child, "exit");
  try {
    const pid = child.pid ?? 0;
    while (!(await isReady(healthPort))) {
      if (child.exitCode !== null) throw new Error(`the controller ended with ${child.exitCode}`);
      await delay(100);
    }
    const readySeconds = (performance.now() - startMs) / 1_000;
    await delay(10_000);
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return {
      readySeconds,
      rssMb: megabytes(status, "VmRSS"),
      peakRssMb: megabytes(status, "VmHWM"),
      cpuSeconds: cpuSecondsOf(pid),
    };
  } finally {
    child.kill("SIGKILL");
    await exited;
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function megabytes(status: string, field: string): number {
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1_024;
}

function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/runtime/readiness`)).ok;
  } catch {
    return false;
  }
}

function kubeconfigOf(server: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
    clusters: [{ name: "c", cluster: { server } }],
    users: [{ name: "u", user: {} }],
  });
}

async function serve(options: ScaleOptions): Promise<Server> {
  const server = createServer((request, response) => answer(request, response, options));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** Lists are made while they are sent; watches say nothing; whoever writes is told that it is written. */
function answer(request: IncomingMessage, response: ServerResponse, { claims, pods }: ScaleOptions): void {
  const { pathname, searchParams } = new URL(request.url ?? "", "http://api");
  if (request.method !== "GET") {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = JSON.parse(Buffer.concat(chunks).toString() || "{}");
      const metadata = { name: "written", ...body.metadata, uid: "u", resourceVersion: "2" };
      send(response, request.method === "POST" ? 201 : 200, { ...body, metadata });
    });
    return;
  }
  if (searchParams.get("watch") === "true") {
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    return;
  }
  const many = new Map<string, readonly [(at: number) => object, number]>([
    [`${ours}/spideripaddresses`, [claimAt, claims]],
    [`${ours}/spiderippools`, [poolAt, Math.ceil(claims / poolSize)]],
    ["/api/v1/pods", [podAt, pods]],
    ["/api/v1/nodes", [nodeAt, nodeCount]],
  ]);
  // Names of collections are plurals; what follows one is an object by its name, and there is none.
  const isCollection = /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(\/namespaces\/[^/]+)?\/[a-z-]+$/.test(pathname);
  if (!isCollection) {
    send(response, 404, { kind: "Status", status: "Failure", reason: "NotFound", code: 404, message: "none" });
    return;
  }
  const [make, count] = many.get(pathname) ?? [claimAt, 0];
  const from = Number(searchParams.get("continue") ?? 0);
  const to = Math.min(count, from + Number(searchParams.get("limit") ?? count));
  const items = Array.from({ length: to - from }, (_, index) => make(from + index));
  const metadata = { resourceVersion: "1", ...(to < count && { continue: String(to) }) };
  send(response, 200, { kind: "List", apiVersion: "v1", metadata, items });
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

function hex(of: number, digits: number): string {
  return ((of * 2_654_435_761) % 2 ** 32)
    .toString(16)
    .padStart(8, "0")
    .repeat(Math.ceil(digits / 8))
    .slice(0, digits);
}

function uid(kind: number, of: number): string {
  return `${hex(of + kind, 8)}-${hex(of, 4)}-4${hex(of, 3)}-8${hex(of, 3)}-${hex(of + 7, 12)}`;
}

const addressAt = (at: number) => {
  const inPool = at % poolSize;
  return `10.${1 + Math.floor(at / poolSize)}.${inPool >> 8}.${inPool & 255}`;
};

/** As agents write them. */
function claimAt(at: number): object {
  const pool = Math.floor(at / poolSize);
  const [pod, node] = [at >> 1, `worker-${String((at >> 1) % nodeCount).padStart(4, "0")}`];
  const address = addressAt(at);
  const manager = { manager: "spiderpool-agent", operation: "Update", apiVersion: "spiderpool.spidernet.io/v2beta1" };
  return {
    apiVersion: "spiderpool.spidernet.io/v2beta1",
    kind: "SpiderIPAddress",
    metadata: {
      ...{ name: address, uid: uid(1, at), resourceVersion: String(1_000 + at), generation: 1 },
      creationTimestamp: "2026-01-01T00:00:00Z",
      labels: { pool: `pool-${pool}`, node },
      managedFields: [{ ...manager, time: "2026-01-01T00:00:00Z", fieldsType: "FieldsV1", fieldsV1: { "f:spec": {} } }],
    },
    spec: {
      ...{ format: 1, address, purpose: "Pod", pool: `pool-${pool}`, poolUID: uid(2, pool), poolGeneration: 1, node },
      ...{
        bootID: uid(3, pod % nodeCount),
        podNamespace: `team-${pod % 200}`,
        podName: `service-${pod % 5_000}-${hex(pod, 10)}`,
      },
      ...{ podUID: uid(4, pod), nic: at % 2 === 0 ? "eth0" : "net1", containerID: hex(at, 64), network: "underlay" },
      ...{ answer: '{"prefix":16,"gw":"10.1.0.1"}', since: "2026-01-01T00:00:00.000Z" },
    },
  };
}

function poolAt(at: number): object {
  const base = `10.${1 + at}`;
  return {
    metadata: {
      ...{ name: `pool-${at}`, uid: uid(2, at), resourceVersion: "1", generation: 1 },
      ...{ finalizers: ["spiderpool.spidernet.io"], labels: {} },
    },
    spec: { ipVersion: 4, subnet: `${base}.0.0/16`, ips: [`${base}.0.0-${base}.255.254`], gateway: `${base}.255.255` },
  };
}

function podAt(at: number): object {
  const name = `service-${at % 5_000}-${hex(at, 10)}`;
  return {
    metadata: { namespace: `team-${at % 200}`, name, uid: uid(4, at), resourceVersion: "1", labels: { app: name } },
    spec: {
      nodeName: `worker-${String(at % nodeCount).padStart(4, "0")}`,
      containers: [{ name: "app", image: "registry/app:1", resources: { requests: { cpu: "1" } } }],
      ...{ restartPolicy: "Always", terminationGracePeriodSeconds: 30 },
    },
    status: { phase: "Running", podIPs: [{ ip: addressAt(at * 2) }], conditions: [{ type: "Ready", status: "True" }] },
  };
}

function nodeAt(at: number): object {
  const name = `worker-${String(at).padStart(4, "0")}`;
  return {
    metadata: { name, uid: name, resourceVersion: "1" },
    spec: {},
    status: { conditions: [{ type: "Ready", status: "True" }] },
  };
}
