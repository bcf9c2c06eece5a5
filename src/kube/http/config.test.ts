import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { stringify } from "yaml";
import { loadKubeConfig } from "./config.ts";

const folder = mkdtempSync(join(tmpdir(), "kube-config-"));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
function kubeconfig(change: { readonly cluster?: object; readonly user?: object; readonly file?: object }): string {
  files += 1;
  const path = join(folder, `config-${files}`);
  const file = {
    "current-context": "one",
    contexts: [
      { name: "one", context: { cluster: "c", user: "u" } },
      { name: "two", context: { cluster: "c", user: "u", namespace: "apps" } },
    ],
    clusters: [{ name: "c", cluster: { server: "https://10.0.0.1:6443/", ...change.cluster } }],
    users: [{ name: "u", user: change.user ?? {} }],
    ...change.file,
  };
  writeFileSync(path, stringify(file));
  return path;
}

describe("loadKubeConfig()", () => {
  it("reads the Pod's service account where no file is given", () => {
    const account = join(folder, "account");
    mkdirSync(account);
    writeFileSync(join(account, "namespace"), "kube-system\n");
    const load = (host: string) =>
      loadKubeConfig({
        env: { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: "6443" },
        serviceAccountFolder: account,
      });
    assert.deepEqual(load("10.96.0.1"), {
      server: "https://10.96.0.1:6443",
      insecureSkipTlsVerify: false,
      namespace: "kube-system",
      ca: { kind: "file", path: join(account, "ca.crt") },
      token: { kind: "file", path: join(account, "token") },
    });
    assert.equal(load("fd00::1").server, "https://[fd00::1]:6443");
    assert.throws(() => loadKubeConfig({ env: {} }), { code: "KUBE_CONFIG_INVALID" });
  });

  it("takes data before files for certificates, files before text for the token, and paths from the file's folder", () => {
    const data = Buffer.from("PEM").toString("base64");
    const path = kubeconfig({
      cluster: { "certificate-authority-data": data, "certificate-authority": "/other", "tls-server-name": "api" },
      user: { "client-certificate": "cert.pem", "client-key": "/abs/key.pem", tokenFile: "token", token: "old" },
    });
    assert.deepEqual(loadKubeConfig({ kubeconfig: path }), {
      server: "https://10.0.0.1:6443",
      tlsServerName: "api",
      insecureSkipTlsVerify: false,
      namespace: "default",
      ca: { kind: "data", data: "PEM" },
      clientCert: { kind: "file", path: join(folder, "cert.pem") },
      clientKey: { kind: "file", path: "/abs/key.pem" },
      token: { kind: "file", path: join(folder, "token") },
    });
  });

  it("follows the context that is asked for, over http too", () => {
    const path = kubeconfig({ cluster: { server: "http://127.0.0.1:8001" }, user: { token: "t" } });
    const config = loadKubeConfig({ kubeconfig: path, context: "two" });
    assert.deepEqual(
      [config.server, config.namespace, config.token],
      ["http://127.0.0.1:8001", "apps", { kind: "data", data: "t" }],
    );
  });

  it("takes of several files the first that has an entry, and its paths from that file's folder, as kubectl does", () => {
    mkdirSync(join(folder, "other"), { recursive: true });
    const second = join(folder, "other", "config");
    const user = { name: "u2", user: { tokenFile: "token" } };
    const context = { name: "prod", context: { cluster: "c", user: "u2" } };
    const cluster = { name: "c", cluster: { server: "https://10.9.9.9" } };
    writeFileSync(
      second,
      stringify({ "current-context": "prod", contexts: [context], users: [user], clusters: [cluster] }),
    );
    const first = kubeconfig({ user: { token: "t" } });
    assert.deepEqual(loadKubeConfig({ kubeconfig: [first, second] }).token, { kind: "data", data: "t" });
    const config = loadKubeConfig({ kubeconfig: [first, second], context: "prod" });
    assert.deepEqual(config.token, { kind: "file", path: join(folder, "other", "token") });
    assert.equal(config.server, "https://10.0.0.1:6443", "both have a cluster c");
    assert.throws(() => loadKubeConfig({ kubeconfig: [first, second], context: "none" }), /lacks an entry/);
  });

  it("names what is wrong with a file", () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      [join(folder, "none"), /cannot be read/],
      [kubeconfig({ user: { exec: { command: "aws" } } }), /not supported/],
      [kubeconfig({ cluster: { server: "10.0.0.1" } }), /not an http/],
      [kubeconfig({ file: { "current-context": "three" } }), /lacks an entry/],
      [kubeconfig({ file: { "current-context": "" } }), /no current context/],
      [kubeconfig({ file: { clusters: [] } }), /lacks an entry/],
    ];
    for (const [path, message] of cases) {
      assert.throws(() => loadKubeConfig({ kubeconfig: path }), { code: "KUBE_CONFIG_INVALID", message });
    }
    const broken = join(folder, "broken");
    writeFileSync(broken, "a: [");
    assert.throws(() => loadKubeConfig({ kubeconfig: broken }), /not YAML/);
    writeFileSync(broken, "- a");
    assert.throws(() => loadKubeConfig({ kubeconfig: broken }), /not a map/);
  });
});
