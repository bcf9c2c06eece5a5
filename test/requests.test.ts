// What the life of a Pod costs the API server: requests of agent and controller, by verb and resource. Counted, not timed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeSettings } from "#api";
import { silentLogger } from "#base";
import type { ApiRequest, Transport } from "#kube";
import { TestCluster } from "../src/agent/testing/agent.ts";
import { runReplica } from "../src/controller/program.ts";
import { options } from "../src/controller/testing/cluster.ts";

const podsCount = 20;

/** `create spiderendpoints`; undefined for requests not caused by Pods: watches, the leader's Lease, audits of claims. */
function nameOf({ method, path }: ApiRequest): string | undefined {
  const url = new URL(path, "http://api");
  if (url.searchParams.has("watch") || url.pathname.includes("/leases")) return undefined;
  const parts = url.pathname.split("/").filter((part) => part !== "");
  const rest = parts.slice(parts[0] === "api" ? 2 : 3);
  const [resource, name, sub] = rest[0] === "namespaces" && rest.length > 2 ? rest.slice(2) : rest;
  if (method === "GET" && resource === "spideripaddresses" && name === undefined) return undefined;
  const verb = { POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" }[method] ?? (name ? "get" : "list");
  return `${verb} ${resource}${sub === undefined ? "" : `/${sub}`}`;
}

function counts(requests: readonly ApiRequest[]): Readonly<Record<string, number>> {
  const names = requests.map(nameOf).filter((name) => name !== undefined);
  return Object.fromEntries([...Map.groupBy(names, (name) => name)].map(([name, all]) => [name, all.length]));
}

/** The same API, with a log of its own. */
function logged(api: Transport): { readonly transport: Transport; readonly requests: ApiRequest[] } {
  const requests: ApiRequest[] = [];
  const send: Transport["send"] = (request, o) => {
    requests.push(request);
    return api.send(request, o);
  };
  return { transport: { server: api.server, send }, requests };
}

function sum(some: Readonly<Record<string, number>>): number {
  return Object.values(some).reduce((total, count) => total + count, 0);
}

/** What is more in `some` than in `idle`, which took as long. */
function without(some: Readonly<Record<string, number>>, idle: Readonly<Record<string, number>>) {
  const more = Object.entries(some).map(([name, count]) => [name, count - (idle[name] ?? 0)] as const);
  return Object.fromEntries(more.filter(([, count]) => count > 0));
}

test("a Pod costs four requests of its agent when it comes and one when it goes; with the controller's, at most five and two", async () => {
  using cluster = new TestCluster();
  const { fake, clock } = cluster.api;
  const controller = logged(fake);
  const stop = new AbortController();
  const { settings } = decodeSettings("");
  const deps = { transport: controller.transport, clock, log: silentLogger, settings };
  const replica = runReplica(options, deps, stop);
  await using _ended = {
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error("the test is over"));
      await replica;
    },
  };
  cluster.pool("a", "10.6.0.1-10.6.0.200");
  const agent = await cluster.agent("n1", { families: [4] });
  await cluster.advance(10_000);

  /** The requests since the last call, when all that follows from them is written. */
  const settled = async () => {
    for (let second = 0; second < 15; second++) await cluster.advance(1_000);
    const ofController = counts(controller.requests.splice(0));
    return { ofController, ofAgent: without(counts(fake.requests.splice(0)), ofController) };
  };
  await settled();
  const idle = await settled();
  assert.deepEqual(idle.ofAgent, {});

  const uids = new Map<string, string>();
  for (let at = 0; at < podsCount; at++) {
    const name = `p${at}`;
    const uid = cluster.pod({ name });
    uids.set(name, uid);
    await agent.add(name, `sandbox-${name}`, { uid });
  }
  const added = await settled();
  const { "list spiderpoolusages": lists = 0, "get spiderpoolusages": reads = 0, ...ofPods } = added.ofAgent;
  assert.ok(
    lists <= 1 && reads <= 1,
    "a pool's usage is read for the first Pod, and listed and watched for those after it",
  );
  assert.deepEqual(ofPods, {
    "create spideripaddresses": podsCount,
    "create spiderendpoints": podsCount,
    "create events": podsCount,
    "patch pods/status": podsCount,
  });
  const views = without(added.ofController, idle.ofController);
  assert.ok(sum(ofPods) + sum(views) <= 5 * podsCount, JSON.stringify(views));

  for (const [name, uid] of uids) {
    cluster.erase(name);
    await agent.del(name, `sandbox-${name}`, { uid });
  }
  const removed = await settled();
  assert.deepEqual(removed.ofAgent, { "delete spideripaddresses": podsCount });
  assert.ok(sum(without(removed.ofController, idle.ofController)) <= podsCount);
});
