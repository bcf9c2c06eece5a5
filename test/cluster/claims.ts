import type { SpiderIPAddress } from "#api";
import { claimName, parseIp } from "#ip";
import type { Draft } from "#kube";

/** A claim of a Pod on a node that does not exist, complete enough for the API server; `spec` has what differs, wrong values too. */
export function claimDraft(address: string, spec: object = {}): Draft<SpiderIPAddress> {
  return {
    metadata: { name: claimName(parseIp(address)), labels: { pool: "p" } },
    spec: {
      format: 1,
      address,
      purpose: "Pod",
      pool: "p",
      poolUID: "u",
      poolGeneration: 1,
      node: "n",
      bootID: "b",
      podNamespace: "default",
      podName: "a",
      podUID: "pu",
      nic: "eth0",
      containerID: "c",
      network: "k",
      answer: '{"prefix":16}',
      since: "2026-01-01T00:00:00.123Z",
      ...spec,
    },
  };
}
