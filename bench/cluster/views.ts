import { isDeepStrictEqual } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { spiderIPPools, spiderPoolUsages } from "#api";
import { never, silentLogger, systemClock } from "#base";
import { createTransport, KubeClient, loadKubeConfig, WatchedStore } from "#kube";
import { ViewWrites } from "./writes.ts";

/** Writes of statuses and of usages since the beginning. */
export type ViewFigures = Readonly<Record<"status" | "usage", ReturnType<ViewWrites["figures"]>>>;

/**
 * Records from now on when views are written, by a watch on a thread of its own. The thread of a thousand agents is busy for so
 * long at a time that several writes would seem to happen at once.
 */
export async function observeViews(kubeconfig: string): Promise<{ figures(): Promise<ViewFigures> }> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { kubeconfig } });
  const next = () =>
    new Promise<unknown>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
  await next();
  return {
    figures: async () => {
      const answer = next();
      worker.postMessage("figures");
      const figures = (await answer) as ViewFigures;
      await worker.terminate();
      return figures;
    },
  };
}

if (!isMainThread && parentPort !== null) await observe(parentPort);

async function observe(port: NonNullable<typeof parentPort>): Promise<void> {
  const [clock, log, signal] = [systemClock, silentLogger, never];
  const client = new KubeClient({ transport: createTransport(loadKubeConfig(workerData), { clock }), clock });
  const pools = new WatchedStore({ client, clock, log, resource: spiderIPPools });
  const usages = new WatchedStore({ client, clock, log, resource: spiderPoolUsages });
  void pools.run({ signal });
  void usages.run({ signal });
  await Promise.all([pools.synced({ signal }), usages.synced({ signal })]);
  const written = { status: new ViewWrites(), usage: new ViewWrites() };
  pools.changed((name, now, before) => {
    if (!isDeepStrictEqual(now?.status, before?.status)) written.status.note(name);
  });
  usages.changed((name) => written.usage.note(name));
  port.on("message", () => port.postMessage({ status: written.status.figures(), usage: written.usage.figures() }));
  port.postMessage("ready");
}
