import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderIPPools, spiderPoolUsages } from "#api";
import { type Logger, silentLogger } from "#base";
import { leases } from "#kube";
import { readOptions } from "./options.ts";
import { TestCluster } from "./testing/cluster.ts";

const leaseRef = { namespace: "kube-system", name: "spiderpool-controller-leases" };
const holder = ({ api }: TestCluster) => api.read(leases, leaseRef)?.spec?.holderIdentity?.split("_")[0];
const epoch = ({ api }: TestCluster) => api.read(spiderPoolUsages, { name: "p" })?.spec.epoch;

describe("two replicas", () => {
  it("have one leader, and the other takes over when it stops", async () => {
    await using cluster = new TestCluster();
    const pool = cluster.pool("p");
    const stop = await cluster.start({ podName: "a" });
    await cluster.start({ podName: "b" });
    assert.deepEqual([holder(cluster), epoch(cluster)], ["a", 0]);
    await stop();
    await cluster.pass(5_000);
    assert.deepEqual([holder(cluster), epoch(cluster)], ["b", 1]);
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(2_000);
    assert.equal(cluster.api.read(spiderIPPools, { name: "p" })?.status?.allocatedIPCount, 1);
  });

  it("answer admission for a while after they have given the Lease back: API servers still ask them", async () => {
    await using cluster = new TestCluster();
    let port = 0;
    const info = (fields: { readonly webhookPort?: number }) => {
      port = fields.webhookPort ?? port;
    };
    const log: Logger = { ...silentLogger, info };
    const stop = await cluster.start({ podName: "a" }, { log, endMs: 5_000 });
    const stopped = stop();
    await cluster.pass(4_000);
    assert.equal(holder(cluster), "");
    assert.equal((await fetch(`http://127.0.0.1:${port}/webhook-health-check`)).status, 200);
    await cluster.pass(2_000);
    await stopped;
    await assert.rejects(fetch(`http://127.0.0.1:${port}/webhook-health-check`));
  });

  it("never write both: a leader that cannot renew its Lease stops before the other one may start", async () => {
    await using cluster = new TestCluster();
    const pool = cluster.pool("p");
    await cluster.start({ podName: "a" });
    await cluster.pass(2_000);
    // From now on the leader's renewals are lost; everything else reaches the server.
    cluster.api.fail(({ method, path }) => method === "PUT" && path.includes("/leases/"), { kind: "not-sent" }, 100);
    await cluster.pass(12_000);
    const before = cluster.api.requests.length;
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(2_000);
    const writes = cluster.api.requests
      .slice(before)
      .filter(({ method, path }) => method !== "GET" && path.includes("spiderpool"));
    assert.deepEqual(
      writes.filter(({ path }) => !path.includes("/leases/")),
      [],
    );
  });

  it("go on if a Lease is taken by force", async () => {
    await using cluster = new TestCluster();
    const pool = cluster.pool("p");
    await cluster.start({ podName: "a" });
    const lease = cluster.api.read(leases, leaseRef) ?? assert.fail();
    cluster.api.apply(leases, { ...lease, spec: { ...lease.spec, holderIdentity: "thief", leaseTransitions: 7 } });
    await cluster.pass(40_000);
    assert.equal(holder(cluster), "a");
    cluster.claim("172.18.30.131", pool);
    await cluster.pass(2_000);
    assert.equal(epoch(cluster), 8);
  });
});

describe("readOptions()", () => {
  it("reads where Cilium's settings are", () => {
    const read = (at?: string) => {
      const more = at === undefined ? {} : { SPIDERPOOL_CILIUM_CONFIGMAP_NAMESPACE_NAME: at };
      const options = readOptions(["daemon"], { ...env, ...more });
      return "print" in options ? assert.fail() : options.coordinator?.cilium;
    };
    assert.deepEqual(read(), { namespace: "kube-system", name: "cilium-config" });
    assert.deepEqual(read("cilium/settings"), { namespace: "cilium", name: "settings" });
    assert.throws(() => read("settings"), /CILIUM_CONFIGMAP_NAMESPACE_NAME is "settings", namespace\/name is needed/);
  });

  const env = { SPIDERPOOL_POD_NAME: "a", SPIDERPOOL_POD_NAMESPACE: "kube-system" };

  it("takes ports from flags, then from the environment, then the usual ones", () => {
    const read = (argv: readonly string[], more: Readonly<Record<string, string>> = {}) => {
      const options = readOptions(argv, { ...env, ...more });
      return "print" in options ? assert.fail() : [options.healthPort, options.webhookPort];
    };
    assert.deepEqual(read(["daemon"]), [5720, 5722]);
    assert.deepEqual(read(["daemon"], { SPIDERPOOL_HEALTH_PORT: "1" }), [1, 5722]);
    assert.deepEqual(read(["daemon", "--health-port", "2"], { SPIDERPOOL_HEALTH_PORT: "1" }), [2, 5722]);
  });

  it("takes the address of each port from the environment, then from the flag for all", () => {
    const more = { SPIDERPOOL_WEBHOOK_BIND_ADDRESS: "10.0.0.1", SPIDERPOOL_METRIC_BIND_ADDRESS: "::1" };
    const options = readOptions(["daemon", "--bind-address", "127.0.0.1"], { ...env, ...more });
    assert.ok(!("print" in options));
    assert.deepEqual(options.bind, { health: "127.0.0.1", webhook: "10.0.0.1", metrics: "::1" });
    const wrong = { ...env, SPIDERPOOL_HEALTH_BIND_ADDRESS: "node1" };
    assert.throws(() => readOptions(["daemon"], wrong), /SPIDERPOOL_HEALTH_BIND_ADDRESS is "node1", an IP address/);
  });

  it("names all mistakes at once", () => {
    const argv = ["daemon", "--tls-server-cert", "c", "--webhook-port", "x"];
    assert.throws(
      () => readOptions(argv, { SPIDERPOOL_LOG_LEVEL: "loud" }),
      (error: Error) => {
        for (const part of ["POD_NAME is not", "POD_NAMESPACE is not", '"loud"', "need each other", '"x"']) {
          assert.ok(error.message.includes(part), `${part} in ${error.message}`);
        }
        return true;
      },
    );
  });

  it("prints its help", () => {
    const options = readOptions(["--help"], {});
    assert.match("print" in options ? options.print : "", /Usage: spiderpool-controller daemon/);
  });
});

describe("the certificate of the webhook port", () => {
  const env = { SPIDERPOOL_POD_NAME: "a", SPIDERPOOL_POD_NAMESPACE: "kube-system" };
  const secret = [
    "--tls-secret",
    "s",
    "--tls-service",
    "c",
    "--tls-webhooks",
    "c",
    "--tls-name",
    "a",
    "--tls-name",
    "b",
  ];

  it("is a Secret's, or that of two files", () => {
    const read = (...argv: string[]) => {
      const options = readOptions(["daemon", ...argv], env);
      return "print" in options ? undefined : options.tls;
    };
    const lifetimeMs = 90 * 86_400_000;
    const names = ["a", "b"];
    assert.deepEqual(read(...secret, "--tls-lifetime", "90d"), {
      kind: "secret",
      secret: "s",
      service: "c",
      webhooks: "c",
      names,
      lifetimeMs,
    });
    const files = ["--tls-server-cert", "f", "--tls-server-key", "k"];
    assert.deepEqual(read(...files), { kind: "files", certFile: "f", keyFile: "k" });
    assert.equal(read(), undefined);
  });

  it("is refused with a sentence if flags contradict each other or one is missing", () => {
    const refused = (argv: readonly string[], words: RegExp) =>
      assert.throws(() => readOptions(["daemon", ...argv], env), words);
    refused([...secret, "--tls-lifetime", "1y"], /--tls-lifetime is "1y", needed is a time like 90d/);
    refused(secret, /--tls-lifetime is ""/);
    refused(["--tls-secret", "s", "--tls-lifetime", "1d"], /needs --tls-service, --tls-webhooks and --tls-name/);
    const files = ["--tls-server-cert", "f", "--tls-server-key", "k"];
    refused([...secret, "--tls-lifetime", "1d", ...files], /exclude each other/);
    refused(["--bind-address", "localhost"], /--bind-address is "localhost", an IP address is needed/);
  });
});
