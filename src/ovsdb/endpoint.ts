import type { NetConnectOpts } from "node:net";
import { SpiderError } from "#base";

/**
 * The address of `unix:/path`, of a bare absolute path, or of `tcp:host:port` (an IPv6 host in brackets).
 *
 * @throws SpiderError OVSDB_ENDPOINT for anything else, `ssl:` included
 */
export function parseEndpoint(endpoint: string): NetConnectOpts {
  const to = tryParseEndpoint(endpoint);
  if (to !== undefined) return to;
  throw new SpiderError("OVSDB_ENDPOINT", "the address of Open vSwitch's database is not understood", {
    details: { found: endpoint, allowed: "unix:/path, an absolute path, or tcp:host:port" },
  });
}

/** True if `createOvs` would take it. */
export function isEndpoint(endpoint: string): boolean {
  return tryParseEndpoint(endpoint) !== undefined;
}

function tryParseEndpoint(endpoint: string): NetConnectOpts | undefined {
  const path = /^(?:unix:)?(\/.+)$/.exec(endpoint)?.[1];
  if (path !== undefined) return { path };
  const tcp = /^tcp:(\[[^\]]+\]|[^:[\]]+):(\d{1,5})$/.exec(endpoint);
  const [, host, port] = tcp ?? [];
  if (host !== undefined && port !== undefined && Number(port) >= 1 && Number(port) <= 65_535) {
    return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
  }
  return undefined;
}
