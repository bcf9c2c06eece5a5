import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { kubeconfigFor } from "../lab/kubeconfig.ts";
import { buildBundles } from "../scripts/build.ts";
import { startController } from "./cluster/controller.ts";
import { round } from "./report.ts";
import type { Report } from "./sections.ts";

const ours = "/apis/spiderpool.spidernet.io/v2beta1";
const poolSize = 30_000;
const nodeCount = 1_000;
/** The controller is at rest so long after it is ready. */
const restMs = 10_000;

/** What a large cluster has. */
export interface ScaleOptions {
  readonly claims: number;
  /** Pods that hold them, two claims each; 0: the controller sees none. */
  readonly pods: number;
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
async function measureController(options: ScaleOptions) {
  const { controller } = await buildBundles();
  const server = await serve(options);
  const { port } = server.address() as AddressInfo;
  const folder = mkdtempSync(join(tmpdir(), "scale-"));
  try {
    const kubeconfig = join(folder, "kubeconfig");
    writeFileSync(kubeconfig, kubeconfigFor(`http://127.0.0.1:${port}`));
    await using running = await startController(controller, kubeconfig);
    await delay(restMs);
    return { readySeconds: running.readySeconds, ...running.usage() };
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
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
