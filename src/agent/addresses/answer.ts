import { formatIp, formatPrefix, parseIp, parsePrefix } from "#ip";
import type { Addressed, PoolView } from "#ipam";
import { type Answer, answerOf, type Claim } from "#ledger";

/** Formats the answer that goes with an address of the pool. */
export function formatAnswer(pool: PoolView, { cleanGateway }: { readonly cleanGateway: boolean }): string {
  const answer: Answer = {
    prefix: pool.subnet.bits,
    ...(pool.gateway !== undefined && { gw: formatIp(pool.gateway) }),
    ...(cleanGateway && { clean: true as const }),
    ...(pool.routes.length === 0
      ? {}
      : { routes: pool.routes.map(({ dst, gw }) => ({ dst: formatPrefix(dst), gw: formatIp(gw) })) }),
  };
  return JSON.stringify(answer);
}

/** The answer in a claim. A Pod keeps the answer that it got with its address, even if the pool was changed. */
export function addressed({ ip, spec }: Claim): Addressed {
  const { prefix, gw, clean, routes = [] } = answerOf(spec);
  return {
    address: { ip, bits: prefix },
    gateway: gw === undefined ? undefined : parseIp(gw),
    cleanGateway: clean === true,
    routes: routes.map((route) => ({ dst: parsePrefix(route.dst), gw: parseIp(route.gw) })),
  };
}
