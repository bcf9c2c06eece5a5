import { parseIp } from "#ip";
import type { Claim } from "../claims/claim.ts";

/** A claim of Pod default/a. `answer`: what its ADD was answered with. */
export function claimFor(nic: string, ip: string, answer: object): Claim {
  const spec = { nic, pool: `pool-${nic}`, podNamespace: "default", podName: "a", answer: JSON.stringify(answer) };
  return { name: ip, ip: parseIp(ip), uid: `uid-${ip}`, resourceVersion: "1", spec } as unknown as Claim;
}

/** A Pod with three NICs, one of both families, in no order. */
export const claimsOfNics: readonly Claim[] = [
  claimFor("net2", "10.7.0.9", { prefix: 24 }),
  claimFor("net1", "10.6.0.9", {
    prefix: 16,
    gw: "10.6.0.1",
    clean: true,
    routes: [{ dst: "10.0.0.0/8", gw: "10.6.0.2" }],
  }),
  claimFor("eth0", "fd00::9", { prefix: 64, gw: "fd00::1" }),
  claimFor("eth0", "172.18.0.9", { prefix: 16, gw: "172.18.0.1" }),
];
