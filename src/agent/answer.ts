import type { SpiderIPAddressSpec } from "#api";
import { formatIp, formatPrefix, parseIp, parsePrefix } from "#ip";
import type { Addressed, PoolView } from "#ipam";
import type { Answer, Claim } from "#ledger";

/** What is told with an address of the pool. */
export function formatAnswer(pool: PoolView, { cleanGateway }: { readonly cleanGateway: boolean }): string {
  const answer: Answer = {
    prefix: pool.subnet.bits,
    ...(pool.gateway === undefined ? {} : { gw: formatIp(pool.gateway) }),
    ...(cleanGateway ? { clean: true as const } : {}),
    ...(pool.routes.length === 0
      ? {}
      : { routes: pool.routes.map(({ dst, gw }) => ({ dst: formatPrefix(dst), gw: formatIp(gw) })) }),
  };
  return JSON.stringify(answer);
}

/** What a claim keeps of {@link formatAnswer}; prefix 0 if it keeps nothing. */
export function answerOf({ answer }: Pick<SpiderIPAddressSpec, "answer">): Answer {
  return answer === undefined ? { prefix: 0 } : JSON.parse(answer);
}

/** As the claim tells it: whoever has an address keeps what it was given with, whatever became of the pool. */
export function addressed({ ip, spec }: Claim): Addressed {
  const { prefix, gw, clean, routes = [] } = answerOf(spec);
  return {
    address: { ip, bits: prefix },
    gateway: gw === undefined ? undefined : parseIp(gw),
    cleanGateway: clean === true,
    routes: routes.map((route) => ({ dst: parsePrefix(route.dst), gw: parseIp(route.gw) })),
  };
}
