// Runs on a lab's node in the place of kubelet and runtime: Pods come, have their sandboxes replaced, and go, `width` of them
// at any time, until the time is over. Reads ChurnPlan as JSON on stdin, prints ChurnReport. Started by soak.ts.
import { randomBytes } from "node:crypto";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { formatIp } from "#ip";
import { deleteNetns, openNetns } from "#linux";
import { newSandbox } from "../../bench/pods.ts";
import { createLabClient, isStatus, textAt } from "../../lab/api/index.ts";
import { CniRuntime, type Sandbox } from "../../lab/node/index.ts";
import { fractionsFrom } from "../../src/base/testing/random.ts";

/** How Pods come and go. */
export interface ChurnPlan {
  readonly nodeName: string;
  readonly apiUrl: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly seconds: number;
  /** Ends earlier when so many Pods have come. */
  readonly podsMax?: number | undefined;
  readonly width: number;
  /** Interfaces of a Pod, each with an address of a network of its own. */
  readonly nics: number;
  readonly seed: number;
}

/** What came of it. */
export interface ChurnReport {
  readonly pods: number;
  readonly adds: number;
  /** Calls that failed and were tried again, by the beginning of their errors: how often, and how long the quickest took. */
  readonly failures: Readonly<Record<string, { readonly times: number; readonly soonestMs: number }>>;
  /** What must never be: an address lost, doubled or changed under a living Pod. */
  readonly violations: readonly string[];
}

const claims = "spiderpool.spidernet.io/v2beta1/spideripaddresses";
/** The pause of a kubelet between two tries of one sandbox. */
const retryMs = 200;
const livesMsMax = 1_500;
const patienceMs = 2_000;

const plan: ChurnPlan = JSON.parse(await text(process.stdin));
/** A connection that was cut says nothing for minutes, and each that waits is a file descriptor. */
const client = createLabClient({ baseUrl: plan.apiUrl }, { callMsMax: patienceMs });
const runtime = new CniRuntime();
const random = fractionsFrom(plan.seed);
const untilMs = performance.now() + plan.seconds * 1000;
const failures = new Map<string, { readonly times: number; readonly soonestMs: number }>();
const violations: string[] = [];
/** Which living Pod has an address, as its sandbox sees it. */
const holders = new Map<string, string>();
const { podsMax = Number.POSITIVE_INFINITY } = plan;
let [pods, adds] = [0, 0];

await Promise.all(Array.from({ length: plan.width }, worker));
const report: ChurnReport = { pods, adds, failures: Object.fromEntries(failures), violations };
console.log(JSON.stringify(report));
process.exit(0);

async function worker(): Promise<void> {
  while (performance.now() < untilMs && pods < podsMax) {
    pods += 1;
    const pod = await create();
    const { sandbox: first, ips } = await start(pod);
    let sandbox = first;
    await holds(pod, ips);
    for (let replaced = Math.floor(random() * 3); replaced > 0; replaced--) {
      await delay(random() * livesMsMax);
      sandbox = await replace(sandbox, ips);
    }
    await delay(random() * livesMsMax);
    await holds(pod, ips);
    await end(sandbox, ips);
  }
}

async function create(): Promise<Sandbox["pod"]> {
  const metadata = {
    name: `soak-${randomBytes(5).toString("hex")}`,
    namespace: "default",
    annotations: plan.annotations,
  };
  const spec = { nodeName: plan.nodeName, containers: [{ name: "app", image: "none" }] };
  const { name, namespace } = metadata;
  const made = await asked(async () => {
    const draft = { apiVersion: "v1", kind: "Pod", metadata, spec };
    // An earlier try may have come through although its answer did not.
    const got = await client.create("v1/pods", draft).catch(unless(409));
    const pod = got ?? (await client.get("v1/pods", { namespace, name }));
    if (pod === undefined) throw new Error(`Pod ${name} was refused and does not exist`);
    return pod;
  });
  return { namespace, name, uid: made.metadata.uid };
}

/** As a kubelet: a sandbox whose ADD failed is taken down, and a new one is tried. */
async function start(pod: Sandbox["pod"]): Promise<{ readonly sandbox: Sandbox; readonly ips: readonly string[] }> {
  for (;;) {
    const sandbox = newSandbox(pod);
    const startMs = performance.now();
    try {
      adds += 1;
      await runtime.add(sandbox);
      const ips = addressesIn(sandbox);
      if (ips.length !== plan.nics) violations.push(`${pod.name} has ${ips.join(", ")} on ${plan.nics} interfaces`);
      for (const ip of ips) {
        const other = holders.get(ip);
        if (other !== undefined && other !== pod.uid) violations.push(`${ip} of ${pod.name} is in use by Pod ${other}`);
        holders.set(ip, pod.uid);
      }
      return { sandbox, ips };
    } catch (error) {
      count(error, startMs);
      await takeDown(sandbox);
      await delay(retryMs);
    }
  }
}

/** What a sandbox really has, in the order of its interfaces. */
function addressesIn({ netns: path }: Sandbox): readonly string[] {
  using netns = openNetns(path);
  return netns.rtnl
    .links()
    .filter(({ name }) => name !== "lo")
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ index }) => netns.rtnl.addresses({ link: index, family: 4 }))
    .map(({ address }) => formatIp(address.ip));
}

/** The Pod lives on in a new sandbox, which must get the same addresses. */
async function replace(old: Sandbox, ips: readonly string[]): Promise<Sandbox> {
  await takeDown(old);
  const { sandbox, ips: now } = await start(old.pod);
  if (now.join() !== ips.join()) violations.push(`${old.pod.name} had ${ips} and got ${now} for its next sandbox`);
  return sandbox;
}

async function end(sandbox: Sandbox, ips: readonly string[]): Promise<void> {
  const { namespace, name } = sandbox.pod;
  const forced = random() < 0.2;
  await asked(() =>
    client.delete("v1/pods", { namespace, name }, { gracePeriodSeconds: forced ? 0 : 30 }).catch(unless(404)),
  );
  // From here on the addresses may be given to somebody else as soon as the sandbox is gone.
  for (const ip of ips) holders.delete(ip);
  await takeDown(sandbox);
  if (random() < 0.2) await takeDown({ ...sandbox, netns: "" });
  if (!forced)
    await asked(() => client.delete("v1/pods", { namespace, name }, { gracePeriodSeconds: 0 }).catch(unless(404)));
}

/** DEL until it succeeds, then the namespace goes. */
async function takeDown(sandbox: Sandbox): Promise<void> {
  for (;;) {
    const startMs = performance.now();
    try {
      await runtime.del(sandbox);
      break;
    } catch (error) {
      count(error, startMs);
      await delay(retryMs);
    }
  }
  if (sandbox.netns !== "") deleteNetns(sandbox.netns);
}

/** The claims of a living Pod's addresses are there and are its own. */
async function holds(pod: Sandbox["pod"], ips: readonly string[]): Promise<void> {
  for (const ip of ips) {
    const claim = await asked(() => client.get(claims, { name: ip }));
    const holder = claim === undefined ? "nobody" : textAt(claim, "spec", "podUID");
    if (holder !== pod.uid) violations.push(`${ip} of the living Pod ${pod.name} (${pod.uid}) is held by ${holder}`);
  }
}

/** The API server may be out of reach for a while. */
async function asked<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch {
      await delay(retryMs);
    }
  }
}

/** Makes nothing of a failure with this HTTP status. */
function unless(status: number): (error: unknown) => undefined {
  return (error) => {
    if (isStatus(error, status)) return undefined;
    throw error;
  };
}

function count(error: unknown, startMs: number): void {
  const tookMs = performance.now() - startMs;
  const words = String(error)
    .replace(/^.*? failed \((\w+)\): (\[.*?\]: error adding container to network "[^"]*": )?/s, "$1: ")
    .replace(/[0-9a-f-]{12,}|soak-\w+|\d+\.\d+\.\d+\.\d+/g, "…")
    .slice(0, 160);
  const { times = 0, soonestMs = tookMs } = failures.get(words) ?? {};
  failures.set(words, { times: times + 1, soonestMs: Math.min(soonestMs, tookMs) });
}
