import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { stringify } from "yaml";
import type { SpiderError } from "#base";
import { loadKubeConfig } from "#kube";
import { execCredentials } from "./exec-credentials.ts";

const folder = mkdtempSync(join(tmpdir(), "exec-credentials-"));
after(() => rmSync(folder, { recursive: true }));

function kubeconfig(exec: object): string {
  const path = join(folder, "config");
  const file = {
    "current-context": "one",
    contexts: [{ name: "one", context: { cluster: "c", user: "u" } }],
    clusters: [{ name: "c", cluster: { server: "https://10.0.0.1:6443/" } }],
    users: [{ name: "u", user: { exec } }],
  };
  writeFileSync(path, stringify(file));
  return path;
}

describe("a program for credentials", () => {
  /** A program of a kubeconfig, which writes what it was told beside itself. */
  function plugin(answer: string): string {
    const path = join(folder, "plugin");
    const script = `#!/bin/sh\nprintf '%s' "$KUBERNETES_EXEC_INFO $REGION $*" > "$0.told"\n${answer}\n`;
    writeFileSync(path, script, { mode: 0o755 });
    return path;
  }
  const say = (status: object) => `echo '${JSON.stringify({ kind: "ExecCredential", status })}'`;

  it("is asked as kubectl asks it", () => {
    const exec = {
      apiVersion: "client.authentication.k8s.io/v1",
      command: "./plugin",
      args: ["token", "-i", "x"],
      env: [{ name: "REGION", value: "north" }],
      interactiveMode: "Never",
      provideClusterInfo: true,
    };
    const path = kubeconfig(exec);
    const load = () => loadKubeConfig({ kubeconfig: path, ask: execCredentials, env: process.env });
    const program = plugin(say({ token: "secret" }));
    assert.deepEqual(load().token, { kind: "data", data: "secret" });
    const told = readFileSync(`${program}.told`, "utf8");
    assert.match(told, /"interactive":false/);
    assert.match(told, /"server":"https:\/\/10\.0\.0\.1:6443\/"/);
    assert.match(told, / north token -i x$/);
    plugin(say({ clientCertificateData: "CERT", clientKeyData: "KEY" }));
    const { clientCert, clientKey } = load();
    assert.deepEqual(
      [clientCert, clientKey],
      [
        { kind: "data", data: "CERT" },
        { kind: "data", data: "KEY" },
      ],
    );
    assert.throws(() => loadKubeConfig({ kubeconfig: path }), /not supported/, "of a program that always runs");
  });

  it("that does not serve is named, with how to install it", () => {
    const fails = (command: string, message: RegExp) => {
      const path = kubeconfig({ command, interactiveMode: "Never", installHint: "get it" });
      const load = () => loadKubeConfig({ kubeconfig: path, ask: execCredentials, env: process.env });
      assert.throws(load, (error: SpiderError) => {
        assert.equal(error.code, "KUBE_CONFIG_INVALID");
        assert.match(error.message, message);
        assert.equal(error.details["installHint"], "get it");
        return true;
      });
    };
    fails("no-such-program", /cannot be run/);
    plugin("exit 3");
    fails("./plugin", /failed/);
    for (const answer of ["echo nonsense", say({}), say({ clientCertificateData: "CERT" })]) {
      plugin(answer);
      fails("./plugin", /gave none/);
    }
  });
});
