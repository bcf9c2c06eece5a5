// Every order and kind of NICs: what the coordinator made for one is still as it was made when the others have come, and the
// wanted one alone has a default route in the main table when it comes.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parsePrefix } from "#ip";
import { formatOperations } from "./operations.ts";
import { planCoordinator } from "./plan.ts";
import type { Observed } from "./state.ts";
import { after, example, link, lo, noHost, observed, podSide, route, settings } from "./testing/observed.ts";

interface Nic {
  readonly coordinated: boolean;
  readonly gateway: boolean;
  readonly tunePodRoutes: boolean;
  readonly policyRoutes: boolean;
}

const nic: fc.Arbitrary<Nic> = fc.record({
  coordinated: fc.boolean(),
  gateway: fc.boolean(),
  tunePodRoutes: fc.boolean(),
  policyRoutes: fc.boolean(),
});

const pods = fc.record({
  nics: fc.array(nic, { minLength: 1, maxLength: 4 }),
  wanted: fc.constantFrom("", "eth0", "net1", "net2"),
});

const nameOf = (at: number) => (at === 0 ? "eth0" : `net${at}`);

function settingsOf({ tunePodRoutes, policyRoutes }: Nic, at: number, podDefaultRouteNIC: string) {
  const policy = policyRoutes ? [{ dst: `192.168.${at}.0/24`, gw: `10.${at + 1}.0.2` }] : [];
  return settings({ ...example, tunePodRoutes, podDefaultRouteNIC, policyRoutes: policy });
}

/** The Pod as its plugin leaves the NIC, before its coordinator. */
function withNic(before: Observed, { gateway }: Nic, at: number): Observed {
  const [name, net] = [nameOf(at), at + 1];
  const { pod } = before;
  return {
    ...before,
    ifName: name,
    pod: {
      ...pod,
      links: [...pod.links, link(name, 40 + at, before.host.links.length > 0 && at === 0 ? { peerIndex: 9 } : {})],
      addresses: [...pod.addresses, { dev: name, address: parsePrefix(`10.${net}.0.9/16`) }],
      routes: [
        ...pod.routes,
        route(`10.${net}.0.0/16 dev ${name} src 10.${net}.0.9`),
        ...(gateway ? [route(`default via 10.${net}.0.1 dev ${name}`)] : []),
      ],
    },
  };
}

describe("the coordinator of a Pod with several NICs", () => {
  it("finds nothing missing on any of them when all have come", () => {
    fc.assert(
      fc.property(pods, ({ nics, wanted }) => {
        const host = nics[0]?.coordinated === true ? noHost : { ...noHost, links: [link("cali1", 9)] };
        let at: Observed = observed(podSide({ links: [lo], addresses: {} }), { host });
        const made: string[] = [];
        const plan = (one: Nic, number: number) =>
          planCoordinator({ ...at, ifName: nameOf(number) }, settingsOf(one, number, wanted));
        for (const [number, one] of nics.entries()) {
          at = withNic(at, one, number);
          if (!one.coordinated) continue;
          const operations = plan(one, number);
          made.push(`${nameOf(number)}:`, ...formatOperations(operations));
          at = after(at, operations);
          if (nameOf(number) !== wanted || number === 0 || !one.gateway || !one.tunePodRoutes) continue;
          const holders = at.pod.routes.filter(({ dst, table }) => dst.bits === 0 && table === 254);
          assert.deepEqual(
            holders.map(({ dev }) => dev),
            [wanted],
            made.join("\n"),
          );
        }
        for (const [number, one] of nics.entries()) {
          if (!one.coordinated) continue;
          assert.deepEqual(formatOperations(plan(one, number)), [], `${nameOf(number)} after\n${made.join("\n")}`);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
