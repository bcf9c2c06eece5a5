import { isJsonObject, type Signal } from "#base";
import type { Candidate } from "../collector/collector.ts";
import type { PoolCounts } from "./gauges.ts";
import type { HttpAnswer, HttpRoutes } from "./http.ts";

/** How many candidates one answer lists at most. */
const candidatesMax = 1_000;

interface ApiSources {
  /** The collector; undefined if this replica does not lead. */
  readonly collector: () =>
    | { readonly rescan: () => void; readonly candidates: (max: number, o: Signal) => Promise<readonly Candidate[]> }
    | undefined;
  /** Counts of addresses, by pool name. */
  readonly pools: () => Readonly<Record<string, PoolCounts>>;
  readonly identity: string;
  readonly epoch: () => number | undefined;
}

/**
 * The controller's HTTP API, beside the probes. It needs no credentials, so it shows only counts and what the collector is
 * about to release, and triggers only what would happen anyway: a collection started here needs the same evidence as any other.
 */
export function apiRoutes({ collector, pools, identity, epoch }: ApiSources): HttpRoutes {
  const routes: HttpRoutes = {
    "/ipam/status": {
      method: "GET",
      answer: async () => ({ status: 200, body: { identity, leaderEpoch: epoch() ?? null, pools: pools() } }),
    },
    "/ipam/gc_ips": {
      method: "POST",
      answer: async (text, o) => {
        const dryRun = readDryRun(text);
        if (dryRun === undefined) return bad('the body must be empty or {"dryRun": true or false}');
        const now = collector();
        if (now === undefined) return { status: 503, body: "this replica does not lead: ask the other ones" };
        const candidates = await now.candidates(candidatesMax, o);
        if (!dryRun) now.rescan();
        return { status: 200, body: { dryRun, candidates } };
      },
    },
    "/ipam/ip": {
      method: "PUT",
      answer: async () => ({ status: 501, body: "addresses are claimed by agents only" }),
    },
  };
  return { ...routes, ...Object.fromEntries(Object.entries(routes).map(([path, route]) => [`/v1${path}`, route])) };
}

function bad(body: string): HttpAnswer {
  return { status: 400, body };
}

/** The `dryRun` of a request; undefined if the body is not valid. */
function readDryRun(text: string): boolean | undefined {
  if (text.trim() === "") return false;
  try {
    const body: unknown = JSON.parse(text);
    if (!isJsonObject(body)) return undefined;
    const { dryRun = false, ...rest } = body;
    return typeof dryRun === "boolean" && Object.keys(rest).length === 0 ? dryRun : undefined;
  } catch {
    return undefined;
  }
}
