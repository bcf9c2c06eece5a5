// The webhooks' certificate on a real kube-apiserver: the chart's Secret, roles and webhook configurations, and a controller
// whose certificates live for seconds. Run as process 1 of namespaces of its own (see scripts/cluster.ts).
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { spiderReservedIPs } from "#api";
import { never } from "#base";
import { type ApiStatusError, type Secret, secrets } from "#kube";
import { findHelm } from "../../lab/tools/helm.ts";
import { managementGateway, run, spawnProgram } from "../../lab/topology/index.ts";
import { buildBundles } from "../../scripts/common/build.ts";
import { directory, kubeconfigOfToken, startApiServer, withoutAccounts } from "./api-server.ts";

const plane = await startApiServer([withoutAccounts]);
const chart = fileURLToPath(new URL("../../charts/spiderpool", import.meta.url));
const namespace = "kube-system";
const name = "spiderpool-controller";
const secretName = `${name}-server-certs`;
/** Rotations that are seen through. */
const rotations = 2;
/** A twelfth of it is what the API server has to hear of a new authority: on a crowded machine it takes a second or two. */
const lifetime = "36s";
const startMsMax = 120_000;
const seenMsMax = 300_000;
const { client, kubectl } = plane;
const helm = await findHelm();
const release = (...argv: readonly string[]) =>
  run([helm, "--kubeconfig", plane.admin, "-n", namespace, ...argv, "spiderpool", chart, "--no-hooks"]);
/** The service leads to this machine, where the controller runs. */
const endpoints = {
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { namespace, name: "here", labels: { "kubernetes.io/service-name": name } },
  addressType: "IPv4",
  endpoints: [{ addresses: [managementGateway], conditions: { ready: true } }],
  ports: [{ name: "webhook", port: 5722, protocol: "TCP" }],
};
await release("install");
await kubectl(["apply", "-f", "-"], JSON.stringify(endpoints));

const o = { signal: never };

/** A kubeconfig with the rights of the chart's ServiceAccount and no others. */
async function controllerKubeconfig(): Promise<string> {
  return kubeconfigOfToken(plane.admin, (await kubectl(["create", "token", "-n", namespace, name])).trim());
}

async function startController(): Promise<void> {
  const names = [`${name}.${namespace}.svc`, `${name}.${namespace}`].flatMap((one) => ["--tls-name", one]);
  const tls = ["--tls-secret", secretName, "--tls-service", name, "--tls-webhooks", name, "--tls-lifetime", lifetime];
  const { controller } = await buildBundles();
  spawnProgram({
    argv: [process.execPath, controller, "daemon", "--kubeconfig", await controllerKubeconfig(), ...tls, ...names],
    env: { ...process.env, SPIDERPOOL_POD_NAMESPACE: namespace, SPIDERPOOL_POD_NAME: name },
    logFile: `${directory}/controller.log`,
  });
}

const sentence = (error: unknown) => (error as Partial<ApiStatusError>).serverMessage ?? String(error);

async function served(): Promise<string> {
  const secret = (await client.get(secrets, { namespace, name: secretName }, o)) as Secret;
  return new X509Certificate(Buffer.from(secret.data?.["tls.crt"] ?? "", "base64")).serialNumber;
}

/** Every write of this object goes through a webhook that must answer. */
const reserved = (at: number) => ({
  metadata: { name: `reserved-${at}` },
  spec: { ipVersion: 4 as const, ips: [`10.0.${at >> 8}.${at & 255}`] },
});
const write = (at: number) => client.create(spiderReservedIPs, reserved(at), o);

describe("the certificate of the webhooks", () => {
  it("is made by the controller and renewed under writes none of which fails, nor when the release is upgraded", async (t) => {
    await assert.rejects(write(0), (error: ApiStatusError) => /failed calling webhook/.test(error.serverMessage));
    await startController();
    const log = () => readFileSync(`${directory}/controller.log`, "utf8");
    const readyByMs = performance.now() + startMsMax;
    for (;;) {
      const error = await write(0).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (error === undefined) break;
      assert.ok(performance.now() < readyByMs, `${sentence(error)}\n${log()}`);
    }
    const seen = new Set<string>();
    let upgraded: Promise<unknown> | undefined;
    const untilMs = performance.now() + seenMsMax;
    let writes = 1;
    for (; seen.size <= rotations; writes++) {
      await write(writes).catch((error: unknown) => assert.fail(`write ${writes}: ${sentence(error)}\n${log()}`));
      seen.add(await served());
      // In the middle of it all the release is upgraded.
      if (seen.size > 1) upgraded ??= release("upgrade", "--reuse-values", "--set", "ipam.gc.enabled=false");
      assert.ok(performance.now() < untilMs, log());
    }
    await upgraded;
    t.diagnostic(`${writes} writes, ${seen.size - 1} rotations`);
    assert.doesNotMatch(log(), /forbidden/i);
  });
});
