import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { kubeconfigFor } from "../lab/tools/kubeconfig.ts";
import { buildBundles } from "../scripts/common/build.ts";
import type { ClaimsOutcome, ClaimsPlan } from "./cluster/claims.ts";
import { startController } from "./cluster/controller.ts";
import { claimAt, type LargeCluster, nodeAt, nodeCount, podAt, poolAt, poolSize } from "./cluster/large.ts";
import { runBeside } from "./cluster/server.ts";
import { type Report, round } from "./report.ts";

const ours = "/apis/spiderpool.spidernet.io/v2beta1";
/** How long after it is ready the controller counts as at rest. */
const restMs = 10_000;

/** A controller that starts in a cluster of 150,000 Pods with two addresses each. */
export async function claimsAtStart(): Promise<Report> {
  const found = await measureController(large);
  const { figures, line } = told(found);
  return { figures, lines: [line] };
}

/** The same with kube-apiserver and etcd, into which the objects are put. */
export async function claimsAtStartReal(): Promise<Report> {
  const plan: ClaimsPlan = { ...large, restMs };
  const { fillSeconds, server, ...found } = await runBeside<ClaimsPlan, ClaimsOutcome>("real", "claims", plan);
  const { figures, line } = told(found);
  const beside = `etcd filled in ${round(fillSeconds, 0)} s; meanwhile API server ${server.cpuSeconds} s CPU, ${server.rssMb} MB`;
  return { figures: { ...figures, server }, lines: [line, beside] };
}

const large: LargeCluster = { claims: 300_000, pods: 150_000 };

function told(found: Started) {
  const figures = {
    ...large,
    readySeconds: round(found.readySeconds, 1),
    rssMb: round(found.rssMb, 1),
    peakRssMb: round(found.peakRssMb, 1),
    cpuSeconds: round(found.cpuSeconds, 1),
  };
  const line = `ready after ${figures.readySeconds} s (${figures.cpuSeconds} s CPU), ${figures.rssMb} MB, at most ${figures.peakRssMb} MB`;
  return { figures, line };
}

type Started = Awaited<ReturnType<typeof measureController>>;

/** Starts the controller against an API server that has nothing but many claims, and says what that took. */
async function measureController(options: LargeCluster) {
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

async function serve(options: LargeCluster): Promise<Server> {
  const server = createServer((request, response) => answer(request, response, options));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** An API server that makes lists while it sends them, reports only existing objects in watches, and accepts all writes. */
function answer(request: IncomingMessage, response: ServerResponse, { claims, pods }: LargeCluster): void {
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
  const many = new Map<string, readonly [(at: number) => object, number]>([
    [`${ours}/spideripaddresses`, [claimAt, claims]],
    [`${ours}/spiderippools`, [poolAt, Math.ceil(claims / poolSize)]],
    ["/api/v1/pods", [podAt, pods]],
    ["/api/v1/nodes", [nodeAt, nodeCount]],
  ]);
  // The path of a collection ends with a plural. A longer path names an object, and there is none.
  const isCollection = /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(\/namespaces\/[^/]+)?\/[a-z-]+$/.test(pathname);
  if (!isCollection) {
    send(response, 404, { kind: "Status", status: "Failure", reason: "NotFound", code: 404, message: "none" });
    return;
  }
  const [make, count] = many.get(pathname) ?? [claimAt, 0];
  if (searchParams.get("watch") === "true") {
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    // Never ended: a watch goes on.
    if (searchParams.get("sendInitialEvents") === "true")
      Readable.from(initialEvents(make, count)).pipe(response, { end: false });
    return;
  }
  const from = Number(searchParams.get("continue") ?? 0);
  const to = Math.min(count, from + Number(searchParams.get("limit") ?? count));
  const items = Array.from({ length: to - from }, (_, index) => make(from + index));
  const metadata = { resourceVersion: "1", ...(to < count && { continue: String(to) }) };
  send(response, 200, { kind: "List", apiVersion: "v1", metadata, items });
}

/** The beginning of a streaming list, in pieces of some objects each. */
function* initialEvents(make: (at: number) => object, count: number): Generator<string> {
  const line = (type: string, object: object) => `${JSON.stringify({ type, object })}\n`;
  for (let from = 0; from < count; from += 100) {
    const to = Math.min(count, from + 100);
    yield Array.from({ length: to - from }, (_, index) => line("ADDED", make(from + index))).join("");
  }
  const annotations = { "k8s.io/initial-events-end": "true" };
  yield line("BOOKMARK", { metadata: { resourceVersion: "1", annotations } });
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
