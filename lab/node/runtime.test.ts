import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { CniRuntime, type Sandbox } from "./index.ts";

const result = {
  cniVersion: "1.0.0",
  interfaces: [{ name: "veth0" }, { name: "eth0", sandbox: "/run/netns/x" }],
  ips: [
    { address: "172.18.30.131/16", interface: 1 },
    { address: "fd00::1/64", interface: 1 },
    { address: "10.0.0.1/8", interface: 0 },
  ],
};
const sandbox: Sandbox = {
  containerId: "c".repeat(64),
  netns: "/run/netns/x",
  pod: { namespace: "default", name: "web", uid: "u-1" },
  capabilityArgs: { portMappings: [{ hostPort: 80 }], bandwidth: {} },
};

let dir: string;
let runtime: CniRuntime;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "lab-runtime-"));
  for (const name of ["conf", "bin"]) mkdirSync(join(dir, name));
  runtime = new CniRuntime({ confDir: join(dir, "conf"), binDir: join(dir, "bin"), cacheDir: join(dir, "cache") });
});
afterEach(() => rmSync(dir, { recursive: true }));

/** A plugin that notes how it was called, one JSON text a line, and then does as `script` says. */
function install(type: string, script: string): void {
  const path = join(dir, "bin", type);
  const note = `printf '{"verb":"%s","netns":"%s","args":"%s","stdin":%s}\\n' "$CNI_COMMAND" "$CNI_NETNS" "$CNI_ARGS" "$(cat)"`;
  writeFileSync(path, `#!/bin/sh\n${note} >>${dir}/calls\n${script}\n`);
  chmodSync(path, 0o755);
}

function configure(file: string, content: object): void {
  writeFileSync(join(dir, "conf", file), JSON.stringify(content));
}

interface Noted {
  readonly verb: string;
  readonly args: string;
  readonly stdin: Readonly<Record<string, unknown>>;
}

function calls(): readonly Noted[] {
  const lines = readFileSync(join(dir, "calls"), "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line) as Noted);
}

const chain = {
  cniVersion: "1.0.0",
  name: "net",
  plugins: [{ type: "first", capabilities: { portMappings: true, bandwidth: false } }, { type: "second" }],
};

test("ADD runs the plugins in order, hands each the result before it, and returns the addresses of eth0", async () => {
  configure("10-net.conflist", chain);
  configure("20-other.conf", { cniVersion: "1.0.0", name: "other", type: "absent" });
  install("first", `echo '${JSON.stringify(result)}'`);
  install("second", `echo '${JSON.stringify(result)}'`);
  const added = await runtime.add(sandbox);
  assert.deepEqual(added.ips, ["172.18.30.131", "fd00::1"]);
  assert.deepEqual(
    added.calls.map(({ verb, type }) => [verb, type]),
    [
      ["ADD", "first"],
      ["ADD", "second"],
    ],
  );
  const [first, second] = calls();
  assert.deepEqual(first?.stdin["runtimeConfig"], { portMappings: [{ hostPort: 80 }] });
  assert.equal(first?.stdin["prevResult"], undefined);
  assert.equal(second?.stdin["name"], "net");
  assert.deepEqual(second?.stdin["prevResult"], result);
  assert.equal(second?.stdin["runtimeConfig"], undefined);
  assert.deepEqual(
    new Set(first?.args.split(";")),
    new Set([
      "IgnoreUnknown=1",
      "K8S_POD_NAMESPACE=default",
      "K8S_POD_NAME=web",
      `K8S_POD_INFRA_CONTAINER_ID=${sandbox.containerId}`,
      "K8S_POD_UID=u-1",
    ]),
  );
});

test("DEL runs them in reverse, with the cached result, and again without it", async () => {
  configure("10-net.conflist", chain);
  for (const type of ["first", "second"]) install(type, `echo '${JSON.stringify(result)}'`);
  await runtime.add(sandbox);
  const deleted = await runtime.del(sandbox);
  assert.deepEqual(
    deleted.map(({ type }) => type),
    ["second", "first"],
  );
  assert.deepEqual(calls()[2]?.stdin["prevResult"], result);
  await runtime.del({ ...sandbox, netns: "" });
  assert.equal(calls()[4]?.stdin["prevResult"], undefined);
});

test("failures are told in libcni's words", async () => {
  const failing = async (script: string, expected: string) => {
    install("first", script);
    await assert.rejects(runtime.add(sandbox), {
      code: "LAB_CNI",
      message: `plugin type="first" name="net" failed (add): ${expected}`,
    });
  };
  await assert.rejects(runtime.add(sandbox), { message: "cni plugin not initialized" });
  configure("10-net.conf", { cniVersion: "1.0.0", name: "net", type: "first" });
  await assert.rejects(runtime.add(sandbox), {
    message: `plugin type="first" name="net" failed (add): failed to find plugin "first" in path [${dir}/bin]`,
  });
  await failing(`echo '{"code":999,"msg":"pool full","details":"ippool-test"}'; exit 1`, "pool full; ippool-test");
  await failing(`echo '{"code":7,"msg":"bad"}'; exit 1`, "bad");
  await failing("exit 3", "netplugin failed with no error message: exit status 3");
  await failing("echo oops >&2; exit 1", 'netplugin failed: "oops\\n": exit status 1');
  await failing("echo oops; exit 1", 'netplugin failed but error parsing its diagnostic message "oops\\n"');
  install("first", `echo '{"cniVersion":"1.0.0"}'`);
  await assert.rejects(runtime.add(sandbox), {
    message: `failed to find network info for sandbox "${sandbox.containerId}"`,
  });
});

test("STATUS is asked from 1.1.0 on, and its refusal keeps the node from being ready", async () => {
  install("first", `echo '{"code":50,"msg":"agent is not running"}'; exit 1`);
  configure("10-net.conf", { cniVersion: "1.0.0", name: "net", type: "first" });
  assert.equal(await runtime.notReady(), undefined);
  configure("10-net.conf", { cniVersion: "1.1.0", name: "net", type: "first" });
  assert.equal(await runtime.notReady(), 'plugin type="first" name="net" failed (status): agent is not running');
  install("first", "exit 0");
  assert.equal(await runtime.notReady(), undefined);
});
