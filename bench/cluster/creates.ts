// Runs beside kube-apiserver and etcd: creates objects of a claim's length and content, of which the server has ever more to
// check. Reads a CreatesPlan as JSON on stdin and prints CreatesOutcomes. Started by bench/cluster/server.ts.
import { text } from "node:stream/consumers";
import { spiderIPAddresses } from "#api";
import { systemClock } from "#base";
import { parseIp } from "#ip";
import { createTransport, KubeClient, type KubeObject, loadKubeConfig, type Resource } from "#kube";
import type { ClaimDraft } from "#ledger";
import { Access, type Account } from "./access.ts";
import { CpuMeter } from "./cpu.ts";
import { type Json, kindLike, kindWithoutSchema } from "./kinds.ts";
import { kubeconfigOf } from "./kubeconfig.ts";
import { type CreatesOutcome, type CreatesPlan, type Layer, layers } from "./layers.ts";
import { newDraft } from "./new-pods.ts";
import type { Surroundings } from "./server.ts";

interface Way {
  readonly resource: Resource<KubeObject>;
  readonly account: Account;
  readonly body: (draft: ClaimDraft) => object;
}

const plan: CreatesPlan & Surroundings = JSON.parse(await text(process.stdin));
const clock = systemClock;
const config = loadKubeConfig({ kubeconfig: kubeconfigOf(plan) });
using transport = createTransport(config, { clock });
const client = new KubeClient({ transport, clock });
const access = await Access.create(plan.server, client, config);
const o = { signal: new AbortController().signal };
const node = "node-0";
const configMaps: Resource<KubeObject> = {
  group: "",
  version: "v1",
  plural: "configmaps",
  kind: "ConfigMap",
  namespaced: true,
};

const asAdministrator = { account: "bench-admin", body: (draft: ClaimDraft) => draft } as const;
const ways: Readonly<Record<Layer, Way>> = {
  ConfigMap: {
    resource: configMaps,
    account: "bench-admin",
    body: ({ metadata, spec }) => ({
      metadata: { ...metadata, namespace: "default" },
      data: Object.fromEntries(Object.entries(spec).map(([key, value]) => [key, String(value)])),
    }),
  },
  "no schema": {
    ...asAdministrator,
    resource: await kindWithoutSchema(client),
  },
  schema: { ...asAdministrator, resource: await kindLike(client, "typed", withoutRules) },
  "schema and rules": { ...asAdministrator, resource: spiderIPAddresses },
  "schema, rules and policies": { ...asAdministrator, resource: spiderIPAddresses, account: "spiderpool-agent" },
};

const outcomes: CreatesOutcome[] = [];
for (let round = 0; round <= plan.rounds; round++) {
  for (const layer of layers) {
    const outcome = await measure(layer, round);
    // The first round only warms the server up.
    if (round > 0) outcomes.push(outcome);
  }
}
process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));

async function measure(layer: Layer, round: number): Promise<CreatesOutcome> {
  const { resource, account, body } = ways[layer];
  using stack = new DisposableStack();
  const clients: KubeClient[] = [];
  for (let at = 0; at < plan.connections; at++)
    clients.push(new KubeClient({ transport: stack.use(await access.connect(account, node)), clock }));
  // All connections are open before it begins.
  const none = resource.namespaced ? { namespace: "default", name: "none" } : { name: "none" };
  await Promise.all(clients.map((of) => of.get(resource, none, o)));
  const drafts = Array.from({ length: plan.creates }, (_, at) => body(draftOf(round, at)) as KubeObject);
  const left = drafts.values();
  const beforeBytes = await allocatedBytes();
  const cpu = new CpuMeter(plan.server);
  const startMs = performance.now();
  await Promise.all(
    clients.map(async (of) => {
      for (const draft of left) await of.create(resource, draft, o);
    }),
  );
  const seconds = (performance.now() - startMs) / 1_000;
  const { server, etcd, agents } = cpu.lap();
  const bytes = (await allocatedBytes()) - beforeBytes;
  const rest = drafts.values();
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (const { metadata } of rest) await client.delete(resource, metadata, o);
    }),
  );
  const per = (cpuSeconds: number) => (cpuSeconds * 1_000) / plan.creates;
  return {
    layer,
    perSecond: plan.creates / seconds,
    serverCpuMs: per(server),
    etcdCpuMs: per(etcd),
    clientCpuMs: per(agents),
    serverKb: bytes / 1_024 / plan.creates,
  };
}

/** How much memory the API server has allocated since its start. */
async function allocatedBytes(): Promise<number> {
  const { body } = await transport.send({ method: "GET", path: "/metrics", headers: { accept: "text/plain" } }, o);
  return Number(/^go_memstats_alloc_bytes_total (\S+)$/m.exec(await text(body))?.[1]);
}

function withoutRules(schema: unknown): Json {
  const without = (of: unknown): unknown => {
    if (Array.isArray(of) || typeof of !== "object" || of === null) return of;
    const entries = Object.entries(of).filter(([key]) => key !== "x-kubernetes-validations");
    return Object.fromEntries(entries.map(([key, value]) => [key, without(value)]));
  };
  return without(schema) as Json;
}

function draftOf(round: number, at: number): ClaimDraft {
  const ip = parseIp(`10.${round}.${at >> 8}.${at & 255}`);
  return newDraft(ip, { pool: "creates", node });
}
