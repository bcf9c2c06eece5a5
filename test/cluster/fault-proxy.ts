/**
 * A proxy between the product's programs and the API server that acts like a bad network or a bad server. It is a program of its
 * own, so that it can be stopped and killed, too. Arguments: certificate, key, authority, address of the server, port.
 */
import { appendFileSync, readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Agent, createServer, request } from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import { type ApiFaults, faultLog, faultRules, type MadeFault } from "./faults.ts";

const [cert = "", key = "", ca = "", upstream = "", port = ""] = process.argv.slice(2);
const agent = new Agent({ ca: readFileSync(ca), keepAlive: true });
const { hostname } = new URL(upstream);
let asked = 0;
let created = 0;

createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (from, to) => {
  serve(from, to).catch(() => to.destroy());
}).listen(Number(port), hostname);

/** The present rules. The file is read each time, so that a rule applies to the next request and to open watches. */
function rules(): ApiFaults {
  try {
    return JSON.parse(readFileSync(faultRules, "utf8"));
  } catch {
    return {}; // none were given
  }
}

function note(kind: MadeFault["kind"], { method = "", url = "" }: IncomingMessage): void {
  appendFileSync(faultLog, `${JSON.stringify({ kind, method, url } satisfies MadeFault)}\n`);
}

async function serve(from: IncomingMessage, to: ServerResponse): Promise<void> {
  const { latencyMs = 0, failEvery = 0 } = rules();
  const isWatch = /[?&]watch=(true|1)/.test(from.url ?? "");
  const body = await Array.fromAsync(from as AsyncIterable<Buffer>);
  if (latencyMs > 0) await delay(latencyMs);
  asked += isWatch ? 0 : 1;
  if (!isWatch && failEvery > 0 && asked % failEvery === 0) {
    note("failed", from);
    to.writeHead(500, { "content-type": "application/json" }).end(JSON.stringify(internalError));
    return;
  }
  const { host: _host, connection: _connection, ...headers } = from.headers;
  const onward = request(new URL(from.url ?? "/", upstream), { method: from.method, headers, agent }, (answer) => {
    if (isWatch) passWatch(from, answer, to);
    else if (isLost(from)) {
      answer.resume();
      note("lost", from);
      to.destroy();
    } else pass(answer, to);
  });
  onward.on("error", () => to.destroy());
  to.on("close", () => onward.destroy());
  onward.end(Buffer.concat(body));
}

/** Whether the answer to this create, which the server has executed, must be lost. */
function isLost({ method }: IncomingMessage): boolean {
  if (method !== "POST") return false;
  const { loseEvery = 0 } = rules();
  created += 1;
  return loseEvery > 0 && created % loseEvery === 0;
}

function pass(answer: IncomingMessage, to: ServerResponse): void {
  to.writeHead(answer.statusCode ?? 502, answer.headers);
  to.flushHeaders();
  answer.on("error", () => to.destroy());
  answer.pipe(to);
}

/** Forwards a watch until a rule cuts it, or silences it for good: then its connection stays open, as to a peer that vanished. */
function passWatch(from: IncomingMessage, answer: IncomingMessage, to: ServerResponse): void {
  to.writeHead(answer.statusCode ?? 502, answer.headers);
  to.flushHeaders();
  let silenced = false;
  answer.on("data", (chunk: Buffer) => {
    if (!silenced && rules().silenceWatches === true) {
      silenced = true;
      note("silenced", from);
    }
    if (!silenced) to.write(chunk);
  });
  answer.on("end", () => silenced || to.end()).on("error", () => silenced || to.destroy());
  const openedMs = performance.now();
  const timer = setInterval(() => {
    const { cutWatchesAfterMs = Number.POSITIVE_INFINITY } = rules();
    if (performance.now() - openedMs < cutWatchesAfterMs) return;
    clearInterval(timer);
    note("cut", from);
    to.destroy();
  }, 100);
  to.on("close", () => clearInterval(timer));
}

const internalError = {
  kind: "Status",
  apiVersion: "v1",
  metadata: {},
  status: "Failure",
  code: 500,
  reason: "InternalError",
  message: "Internal error occurred: made by the test",
};
