import assert from "node:assert/strict";
import type { X509Certificate } from "node:crypto";
import { request } from "node:https";
import { afterEach, beforeEach, describe, it } from "node:test";
import { type Clock, silentLogger, systemClock, Tasks } from "#base";
import {
  KubeClient,
  mutatingWebhooks,
  runController,
  type Secret,
  type Store,
  secrets,
  validatingWebhooks,
  WatchedStore,
  type WebhookConfiguration,
} from "#kube";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { until } from "../../base/testing/until.ts";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { serveHttp } from "../http/http.ts";
import { rotationController } from "./rotation.ts";
import { readSecret } from "./secret.ts";
import { tlsOfSecret } from "./serving.ts";

const secretRef = { namespace: "kube-system", name: "certs" };
const service = { namespace: "kube-system", name: "spiderpool-controller" };
const host = "spiderpool-controller.kube-system.svc";
const foreign = { name: "other", clientConfig: { caBundle: "Zm9yZWlnbg==", service: { ...service, name: "other" } } };
const ours = (name: string) => ({ name, clientConfig: { service } });

describe("the rotation of the webhooks' certificate", () => {
  let api: FakeApi;
  let client: KubeClient;
  let tasks: Tasks;
  let clock: Clock;
  beforeEach(async () => {
    api = new FakeApi();
    clock = systemClock;
    client = new KubeClient({ transport: api, clock });
    tasks = new Tasks(silentLogger);
    const o = { signal: tasks.signal };
    const webhooks = [ours("a"), foreign, ours("b")];
    const metadata = { name: "spiderpool-controller" };
    await client.create(mutatingWebhooks, { metadata, webhooks } as unknown as WebhookConfiguration, o);
    await client.create(validatingWebhooks, { metadata, webhooks } as unknown as WebhookConfiguration, o);
  });
  afterEach(() => tasks.stop());

  function watch<T extends WebhookConfiguration | Secret>(
    resource: ConstructorParameters<typeof WatchedStore<T>>[0]["resource"],
  ) {
    const store = new WatchedStore<T>({ client, clock, log: silentLogger, resource });
    tasks.spawn(resource.plural, (signal) => store.run({ signal }));
    return store;
  }

  function lead(lifetimeMs: number): {
    readonly secretStore: Store<Secret>;
    readonly bundles: () => readonly string[];
  } {
    const secretStore = watch<Secret>(secrets);
    const mutating = watch<WebhookConfiguration>(mutatingWebhooks);
    const validating = watch<WebhookConfiguration>(validatingWebhooks);
    const controller = rotationController(
      { client, clock, log: silentLogger },
      {
        secret: secretRef,
        service,
        names: [host],
        lifetimeMs,
        secrets: secretStore,
        webhooks: [
          { resource: mutatingWebhooks, store: mutating },
          { resource: validatingWebhooks, store: validating },
        ],
      },
    );
    tasks.spawn("rotation", (signal) => runController(controller, { signal }));
    const bundles = () =>
      [mutating, validating].flatMap((store) =>
        store.list().flatMap(({ webhooks = [] }) => webhooks.map(({ clientConfig }) => clientConfig.caBundle ?? "")),
      );
    return { secretStore, bundles };
  }

  const makeSecret = (data: Record<string, string> = {}) =>
    client.create(secrets, { metadata: secretRef, type: "kubernetes.io/tls", data } as unknown as Secret, {
      signal: tasks.signal,
    });

  it("fills an empty Secret, and makes our webhooks trust it, and no others", async () => {
    await makeSecret();
    const { secretStore, bundles } = lead(86_400_000);
    const ca = () => secretStore.get("kube-system/certs")?.data?.["ca.crt"] ?? "none";
    await until("trust", () => bundles().filter((one) => one === ca()).length === 4, Boolean);
    assert.equal(bundles().filter((one) => one === foreign.clientConfig.caBundle).length, 2);
  });

  it("restores a webhook's caBundle that somebody overwrote", async () => {
    await makeSecret();
    const { secretStore, bundles } = lead(86_400_000);
    const ca = () => secretStore.get("kube-system/certs")?.data?.["ca.crt"] ?? "none";
    await until("trust", () => bundles().filter((one) => one === ca()).length === 4, Boolean);
    const found = await client.get(mutatingWebhooks, { name: "spiderpool-controller" }, { signal: tasks.signal });
    assert.ok(found);
    await client.update(
      mutatingWebhooks,
      { ...found, webhooks: [ours("a"), foreign, ours("b")] },
      { signal: tasks.signal },
    );
    await until("loss", () => bundles().length === 6, Boolean);
    await until("trust again", () => bundles().filter((one) => one === ca()).length === 4, Boolean);
  });

  it("renews again and again under load, and every call is verified", { timeout: 240_000 }, async () => {
    // TLS clients verify by the real time: certificates are valid from 5 minutes before their creation.
    const manual = new ManualClock({ wall: new Date() });
    clock = manual;
    client = new KubeClient({ transport: api, clock });
    await makeSecret();
    const { secretStore } = lead(120_000);
    const tls = await tlsOfSecret(secretStore, "kube-system/certs");
    const log = silentLogger;
    const routes = { "/": { method: "GET", answer: async () => ({ status: 200 }) } } as const;
    await using server = await serveHttp({ port: 0, host: "127.0.0.1", tls, routes, log });
    // Stands for an API server: it learns late which authority to trust, by its own watch.
    let trusted = "";
    const learned: { readonly atMs: number; readonly bundle: string }[] = [];
    const late = watch<WebhookConfiguration>(validatingWebhooks);
    late.changed((_key, now) => {
      const bundle = now?.webhooks?.[0]?.clientConfig.caBundle ?? "";
      learned.push({ atMs: manual.monotonicMs() + 6_000, bundle });
    });
    const served = new Set<string>();
    const call = () =>
      new Promise<void>((resolve, reject) => {
        const options = { host: "127.0.0.1", port: server.port, servername: host, ca: trusted, agent: false };
        const sent = request({ ...options, minVersion: "TLSv1.3" }, (answer) => {
          answer.resume().once("end", resolve);
          served.add(
            ((answer.socket as import("node:tls").TLSSocket).getPeerX509Certificate() as X509Certificate).serialNumber,
          );
        });
        sent.once("error", reject);
        sent.end();
      });
    let calls = 0;
    while (served.size < 4) {
      await manual.advance(1_000);
      while (learned[0] !== undefined && learned[0].atMs <= manual.monotonicMs()) {
        trusted = Buffer.from(learned.shift()?.bundle ?? "", "base64").toString("utf8");
      }
      if (trusted === "") continue;
      await call();
      calls += 1;
    }
    assert.ok(calls > 100, `only ${calls} calls`);
    const { ca, current } = readSecret(secretStore.get("kube-system/certs") as Secret);
    assert.ok(current);
    assert.ok(ca.split("BEGIN CERTIFICATE").length <= 4, "authorities are forgotten");
  });
});
