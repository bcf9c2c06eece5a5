import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spiderIPAddresses, spiderPoolUsages } from "#api";
import { type Clock, FairQueue, type Signal, silentLogger } from "#base";
import { IpSet } from "#ip";
import { type PoolView, poolView } from "#ipam";
import { KubeClient, type Transport } from "#kube";
import { claimOf, Intents, Ledger, poolUsage } from "#ledger";
import { ManualClock } from "../src/base/testing/manual-clock.ts";
import { FakeApi } from "../src/kube/testing/fake-api.ts";
import { percentiles, round } from "./report.ts";
import type { Report } from "./sections.ts";
import { seeded } from "./seeded.ts";

const pods = 1_000;
const agents = [1, 10, 100];
/** The API server: so many requests at a time, each so long; watches lag. */
const apiSlots = 4;
const requestMs = 2;
/** The leader publishes so often at most, and when so much of what was free has gone. */
const publishEveryMs = 25;
const publishShare = 0.1;

/**
 * What it costs in writes to give 1,000 addresses to 1,000 Pods that ask at once, on one node and on many: real ledgers on an
 * API server in memory, in virtual time.
 */
export async function ledger(): Promise<Report> {
  const rows = [];
  for (const count of agents) rows.push(await fill(count));
  return {
    figures: Object.fromEntries(rows.map(({ agents: count, ...figures }) => [`agents${count}`, figures])),
    lines: rows.map(
      ({ agents: count, writesPerPod, worstWrites, failed, totalMs, lists, cpuMsPerPod }) =>
        `${String(count).padStart(3)} agents: ${writesPerPod} writes per Pod, ${worstWrites} at most, ${failed} failed, ${lists} lists, ${totalMs} ms; CPU of all together ${cpuMsPerPod} ms per Pod`,
    ),
  };
}

async function fill(count: number) {
  const pool = poolView({
    metadata: { name: "pool", uid: "uid-pool", generation: 1 },
    spec: { subnet: "10.6.0.0/16", ips: [`10.6.0.0-10.6.${(pods - 1) >> 8}.${(pods - 1) & 255}`] },
  });
  const clock = new ManualClock();
  const api = new FakeApi({ clock });
  const slow = slowly(api, clock);
  const folder = mkdtempSync(join(tmpdir(), "bench-ledger-"));
  const stop = new AbortController();
  const { signal } = stop;
  const names = Array.from({ length: count }, (_, at) => `n${at}`);
  const ledgers = names.map((node) => agent(node, slow, clock, join(folder, node), { signal }));
  await Promise.all(ledgers.map((one) => one.recall([], { signal })));
  const leader = publish(api, clock, pool, names, { signal });
  const random = seeded(count);
  const creates = new Map<string, number>();
  const cpu = process.cpuUsage();
  const startMs = clock.monotonicMs();
  const answering = Promise.allSettled(
    Array.from({ length: pods }, (_, at) =>
      ledgers[Math.floor(random() * count)]?.claim(
        {
          family: 4,
          pools: [pool],
          holder: {
            pod: { namespace: "default", name: `p${at}`, uid: `p${at}` },
            nic: "eth0",
            containerId: `c${at}`,
            network: "net",
          },
          answer: () => '{"prefix":16}',
        },
        { signal },
      ),
    ),
  );
  const answers = await drive(clock, answering);
  const totalMs = clock.monotonicMs() - startMs;
  const { user, system } = process.cpuUsage(cpu);
  stop.abort(new Error("the bench is over"));
  await leader.catch(() => {});
  for (const { method, path, body } of api.requests) {
    if (method !== "POST" || !path.includes("/spideripaddresses")) continue;
    const { podUID } = JSON.parse(String(body)).spec;
    creates.set(podUID, (creates.get(podUID) ?? 0) + 1);
  }
  const lists = api.requests.filter(({ method, path }) => method === "GET" && /\/spideripaddresses\?/.test(path));
  for (const one of ledgers) one.stop();
  rmSync(folder, { recursive: true });
  const writes = [...creates.values()];
  return {
    agents: count,
    writesPerPod: round(writes.reduce((sum, one) => sum + one, 0) / pods, 3),
    p90Writes: percentiles(writes).p90Ms,
    worstWrites: Math.max(...writes),
    failed: answers.filter(({ status }) => status === "rejected").length,
    lists: lists.length,
    totalMs: round(totalMs),
    cpuMsPerPod: round((user + system) / 1_000 / pods),
  };
}

/** Moves time on until the promise has settled: the figures do not depend on the machine. */
async function drive<T>(clock: ManualClock, promise: Promise<T>): Promise<T> {
  let settled = false;
  const settle = () => {
    settled = true;
  };
  promise.then(settle, settle);
  while (!settled) await clock.advance(1);
  return promise;
}

function agent(node: string, transport: Transport, clock: Clock, folder: string, { signal }: Signal): Ledger {
  return new Ledger({
    client: new KubeClient({ transport, clock }),
    clock,
    log: silentLogger,
    node,
    bootId: "boot",
    intents: new Intents(folder),
    reserved: (family) => IpSet.empty(family),
    inUse: () => true,
    isIndexed: async () => true,
    signal,
  });
}

/** The API server as it is under load: a queue before few slots. Watches have no part in it. */
function slowly(api: FakeApi, clock: Clock): Transport {
  const slots = new FairQueue({ slots: apiSlots, maxWaiting: 100_000 });
  return {
    server: api.server,
    send: async (request, o) => {
      if (request.path.includes("watch=true")) return api.send(request, o);
      using _slot = await slots.enter("", o);
      await clock.sleep(requestMs, o);
      return api.send(request, o);
    },
  };
}

/** The leader's part: publishes the usage when enough of what was free has gone. Every node knows its rank from the start. */
async function publish(
  api: FakeApi,
  clock: Clock,
  pool: PoolView,
  nodes: readonly string[],
  { signal }: Signal,
): Promise<void> {
  let toldUsed = -1;
  for (;;) {
    const claims = api.all(spiderIPAddresses);
    const free = pods - toldUsed;
    if (toldUsed < 0 || claims.length - toldUsed >= Math.max(1, free * publishShare)) {
      toldUsed = claims.length;
      const used = IpSet.ofIps(
        4,
        claims.flatMap((object) => claimOf(object)?.ip ?? []),
      );
      const now = { reserved: IpSet.empty(4), cooling: IpSet.empty(4), epoch: 1, now: clock.wall() };
      api.apply(spiderPoolUsages, { metadata: { name: pool.name }, spec: poolUsage(pool, { used, nodes }, now) });
    }
    await clock.sleep(publishEveryMs, { signal });
  }
}
