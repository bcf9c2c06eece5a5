import assert from "node:assert/strict";
import { it } from "node:test";
import { spiderEndpoints } from "#api";
import { parseIp } from "#ip";
import type { Claim } from "#ledger";
import { TestApi, testPod } from "../testing/api.ts";
import { Endpoints } from "./endpoints.ts";

it("withdraw() takes only the given addresses out of the Pod's own endpoint, and leaves the object", async () => {
  using api = new TestApi();
  const never = new AbortController().signal;
  const settings = { enableStatefulSet: true, enableKubevirtStaticIP: true };
  const unused = {} as never;
  const endpoints = new Endpoints({
    client: api.client,
    clock: api.clock,
    ledger: unused,
    owners: unused,
    node: "n1",
    settings,
  });
  const pod = testPod("web");
  const write = (uid: string) =>
    api.fake.apply(spiderEndpoints, {
      metadata: { namespace: pod.metadata.namespace ?? "", name: "web" },
      status: {
        current: {
          uid,
          node: "n1",
          ips: [
            { interface: "eth0", ipv4: "10.6.0.9/16" },
            { interface: "net1", ipv4: "10.7.0.9/16" },
          ],
        },
        ownerControllerType: "Pod",
        ownerControllerName: "web",
      },
    });
  const nics = () =>
    api.fake
      .read(spiderEndpoints, { namespace: pod.metadata.namespace ?? "", name: "web" })
      ?.status.current.ips.map((one) => one.interface);
  const given = [{ name: "10.6.0.9", ip: parseIp("10.6.0.9") } as unknown as Claim];
  write("another");
  await endpoints.withdraw(pod, given, { signal: never });
  assert.deepEqual(nics(), ["eth0", "net1"], "of a Pod of that name");
  write(pod.metadata.uid);
  await endpoints.withdraw(pod, given, { signal: never });
  assert.deepEqual(nics(), ["net1"]);
});
