import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { gunzipSync } from "node:zlib";
import { networkAttachmentDefinitions, spiderIPPools } from "#api";
import { configMaps, events, pods, secrets } from "#kube";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { runCtl } from "../testing/run.ts";

async function bundle(api: FakeApi, option = "-f") {
  const folder = mkdtempSync(join(tmpdir(), "bundle-"));
  const file = join(folder, "b.json.gz");
  try {
    const ran = await runCtl(api, ["bundle", option, file]);
    const { size, mode } = statSync(file);
    return { ...ran, size, mode, text: gunzipSync(readFileSync(file)).toString() };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

it("bundle has our objects and nothing that lets somebody in", async () => {
  const api = new FakeApi();
  api.apply(spiderIPPools, { metadata: { name: "pool1" }, spec: { subnet: "10.6.0.0/16" } });
  const config = JSON.stringify({ type: "x", nested: { password: "hunter2" } });
  api.apply(networkAttachmentDefinitions, { metadata: { namespace: "a", name: "n" }, spec: { config } });
  const labels = { "app.kubernetes.io/name": "spiderpool" };
  const env = [{ name: "PROXY", value: "http://me:hunter2@proxy" }];
  const annotations = { "kubectl.kubernetes.io/last-applied-configuration": "hunter2" };
  const metadata = { namespace: "a", name: "agent-1", labels, annotations };
  api.apply(pods, { metadata, spec: { containers: [{ name: "agent", env }] } });
  api.apply(pods, { metadata: { namespace: "a", name: "not-ours" }, spec: { containers: [] } });
  api.apply(secrets, { metadata: { namespace: "a", name: "s" }, data: { password: "hunter2" } });
  api.apply(configMaps, { metadata: { namespace: "a", name: "c" }, data: { x: "hunter2" } });
  const { text, status, mode } = await bundle(api);
  assert.equal(status, 0);
  assert.equal(mode & 0o777, 0o600);
  for (const shown of ["pool1", "agent-1", '"PROXY"']) assert.ok(text.includes(shown), shown);
  for (const hidden of ["hunter2", "not-ours"]) assert.ok(!text.includes(hidden), hidden);
});

it("bundle stays below 20 MB and counts what was left out", async () => {
  const api = new FakeApi();
  const message = "x".repeat(3_000_000);
  for (let at = 0; at < 8; at++) {
    api.apply(events, {
      metadata: { namespace: "a", name: `e${at}` },
      involvedObject: { kind: "Pod" },
      message,
    } as never);
  }
  const { text, err } = await bundle(api);
  assert.ok(text.length <= 20_000_000);
  assert.match(err, /^2 of Event were left out/m);
});

it("bundle takes its file by -o, too, and no format", async () => {
  assert.equal((await bundle(new FakeApi(), "-o")).status, 0);
  for (const flags of [
    ["-o", "json"],
    ["-f", "a", "-o", "b"],
  ]) {
    const { status, err } = await runCtl(new FakeApi(), ["bundle", ...flags]);
    assert.deepEqual([status, /name the file to write, once, with -f FILE/.test(err)], [2, true], err);
  }
});
