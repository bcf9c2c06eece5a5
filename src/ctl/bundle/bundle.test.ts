import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, it } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { networkAttachmentDefinitions, spiderIPPools } from "#api";
import { configMaps, events, pods, secrets, type Transport } from "#kube";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { runCtl } from "../testing/run.ts";
import { redact } from "./redact.ts";

async function bundle(api: Transport, option = "-f", path = "") {
  const folder = mkdtempSync(join(tmpdir(), "bundle-"));
  const file = join(folder, "b.json.gz");
  try {
    const ran = await runCtl(api, ["bundle", option, file], {}, { path });
    const { size, mode } = statSync(file);
    return { ...ran, size, mode, text: gunzipSync(readFileSync(file)).toString() };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

it("bundle contains our objects and no credentials", async () => {
  const api = new FakeApi();
  api.apply(spiderIPPools, { metadata: { name: "pool1" }, spec: { subnet: "10.6.0.0/16" } });
  const config = JSON.stringify({ type: "x", nested: { password: "hunter2" } });
  api.apply(networkAttachmentDefinitions, { metadata: { namespace: "a", name: "n" }, spec: { config } });
  const labels = { "spiderpool.spidernet.io/program": "agent" };
  const env = [{ name: "PROXY", value: "http://me:hunter2@proxy" }];
  const annotations = { "kubectl.kubernetes.io/last-applied-configuration": "hunter2" };
  const metadata = { namespace: "a", name: "agent-1", labels, annotations };
  api.apply(pods, { metadata, spec: { containers: [{ name: "agent", env }] } });
  api.apply(pods, { metadata: { namespace: "a", name: "not-ours" }, spec: { containers: [] } });
  const wanting = { annotations: { "ipam.spidernet.io/ippool": '{"ipv4":["pool1"]}' }, namespace: "a", name: "waits" };
  const spec = { containers: [{ name: "app", env }] };
  api.apply(pods, { metadata: wanting, spec, status: { phase: "Pending" } });
  api.apply(secrets, { metadata: { namespace: "a", name: "s" }, data: { password: "hunter2" } });
  api.apply(configMaps, { metadata: { namespace: "a", name: "c" }, data: { x: "hunter2" } });
  const { text, status, mode } = await bundle(api);
  assert.equal(status, 0);
  assert.equal(mode & 0o777, 0o600);
  for (const shown of ["pool1", "agent-1", '"PROXY"', "waits", "ipam.spidernet.io/ippool"])
    assert.ok(text.includes(shown), shown);
  for (const hidden of ["hunter2", "not-ours"]) assert.ok(!text.includes(hidden), hidden);
});

it("bundle has the newest lines of our Pods' logs and their metrics, without credentials, and tells what it has not", async () => {
  const api = new FakeApi();
  const pod = (component: string, restartCount: number, more: object = {}) =>
    api.apply(pods, {
      metadata: {
        namespace: "s",
        name: component,
        labels: { "spiderpool.spidernet.io/program": component },
      },
      spec: { nodeName: "node1", containers: [{ name: "main", ...more }] },
      status: { containerStatuses: [{ name: "main", restartCount }] as never },
    });
  const env = [
    { name: "SPIDERPOOL_ENABLED_METRIC", value: "true" },
    { name: "SPIDERPOOL_METRIC_HTTP_PORT", value: "5711" },
  ];
  pod("agent", 1, { env });
  pod("controller", 0);
  const line = (at: number) => JSON.stringify({ msg: `line ${at}`, auth: { token: "hunter2" } });
  const key = "-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----";
  const asked: string[] = [];
  const transport: Transport = {
    server: api.server,
    send: (request, o) => {
      const { path } = request;
      if (!/pods\/.+\/(log|proxy)/.test(path)) return api.send(request, o);
      asked.push(path);
      if (path.includes("controller")) throw new Error("the container has not started");
      const text = path.includes("/proxy/") ? "calls 1\n" : `${[1, 2].map(line).join("\n")}\n${key}\nend\n`;
      return Promise.resolve({ status: 200, headers: {}, body: Readable.from([Buffer.from(text)]) });
    },
  };
  const { text, status, err } = await bundle(transport);
  assert.equal(status, 0, err);
  assert.doesNotMatch(text, /hunter2/);
  const { parts } = JSON.parse(text) as { parts: { kind: string; items: { lines?: string[]; error?: string }[] }[] };
  const of = (kind: string) => parts.find((part) => part.kind === kind)?.items;
  assert.deepEqual(
    of("Log")?.map(({ lines, error }) => error ?? lines?.map((one) => /line \d|end/.exec(one)?.[0])),
    ["the container has not started", ["line 1", "line 2", undefined, "end"], ["line 1", "line 2", undefined, "end"]],
  );
  assert.match(JSON.stringify(of("Metrics")), /calls 1/);
  assert.ok(
    asked.every((path) => /tailLines=2000|proxy\/metrics$/.test(path)),
    asked.join("\n"),
  );
  assert.match(err, /kubectl -n s exec agent -- spiderpoolctl bundle --local -f - > node1\.json\.gz$/m);
});

it("bundle has what the agent of every node tells, by kubectl, and why where one does not", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kubectl-"));
  try {
    const api = new FakeApi();
    const agent = (name: string, phase: string) => {
      const labels = { "spiderpool.spidernet.io/program": "agent" };
      api.apply(pods, {
        metadata: { namespace: "s", name, labels },
        spec: { nodeName: `node-of-${name}`, containers: [] },
        status: { phase },
      });
    };
    agent("one", "Running");
    agent("two", "Running");
    agent("coming", "Pending");
    const items = [
      { about: "flights", answer: [{ verb: "ADD", password: "hunter2" }] },
      { about: "doctor", error: "it is starting" },
      { about: "log", answer: ["a line"] },
    ];
    writeFileSync(join(folder, "b"), gzipSync(JSON.stringify({ format: 1, parts: [{ kind: "Agent", items }] })));
    const asked = "--context test -n s exec one -- spiderpoolctl bundle --local -f -";
    const script = `#!/bin/sh\n[ "$*" = "${asked}" ] && exec /bin/cat ${folder}/b\necho 'pods "two" not found' >&2\nexit 1\n`;
    writeFileSync(join(folder, "kubectl"), script, { mode: 0o755 });
    const { text, status, err } = await bundle(api, "-f", `/nowhere:${folder}`);
    assert.deepEqual([status, err], [0, ""]);
    const parts = JSON.parse(text).parts as { kind: string; items: unknown[] }[];
    assert.deepEqual(parts.find(({ kind }) => kind === "Agents")?.items, [
      { node: "node-of-one", about: "flights", answer: [{ verb: "ADD", password: "REDACTED" }] },
      { node: "node-of-one", about: "doctor", error: "it is starting" },
      { node: "node-of-two", error: 'pods "two" not found' },
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("bundle --local asks the agent alone, and says what it does not answer", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bundle-"));
  const [socket, file] = [join(folder, "socket"), join(folder, "b.json.gz")];
  const server = createServer(({ url }, response) => {
    const isStarting = url === "/v1/doctor";
    const body = isStarting ? "it is starting" : [{ url, password: "hunter2" }];
    response.writeHead(isStarting ? 500 : 200).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  try {
    const api = new FakeApi();
    const argv = ["bundle", "--local", "-f", file, "--socket", socket];
    const { status, err } = await runCtl(api, argv);
    assert.deepEqual([status, err, api.requests.length], [0, "", 0]);
    const [part, ...others] = JSON.parse(gunzipSync(readFileSync(file)).toString()).parts;
    assert.deepEqual([part.kind, others], ["Agent", []]);
    assert.deepEqual(
      part.items.map(({ about, answer, error }: Record<string, unknown>) => [about, answer ?? error]),
      ["status", "doctor", "faults", "flights", "log", "metrics"].map((about) => [
        about,
        about === "doctor"
          ? "the agent answered 500 to /v1/doctor: it is starting"
          : [{ url: `/v1/${about}`, password: "REDACTED" }],
      ]),
    );
  } finally {
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
  }
});

describe("redact()", () => {
  const jwt = `eyJ${"aGVhZGVy".repeat(3)}.eyJzdWIiOiJodW50ZXIyIn0.hunter2`;
  const pem = "-----BEGIN EC PRIVATE KEY-----\nhunter2\nhunter2==\n-----END EC PRIVATE KEY-----";
  const kubeconfig = [
    "users:",
    "- name: multus",
    "  user:",
    "    client-key-data: hunter2",
    "    token: hunter2",
    '    password: "hunter2 hunter2"',
  ].join("\n");

  it("removes passwords, tokens and keys wherever they are", () => {
    for (const [where, value] of Object.entries({
      "an annotation of such a name": { metadata: { annotations: { "example.com/api-token": "hunter2" } } },
      "JSON in an annotation": { metadata: { annotations: { auth: '[{"user":"me","password":"hunter2"}]' } } },
      "a kubeconfig in an annotation": { metadata: { annotations: { note: kubeconfig } } },
      "a private key in any text": { metadata: { annotations: { note: `before ${pem} after` } } },
      "a private key cut off": { note: pem.slice(0, 40) },
      "an environment variable": { spec: { containers: [{ env: [{ name: "ANY", value: "hunter2" }] }] } },
      "an option": { spec: { containers: [{ args: ["--db-password=hunter2", "--v=2"] }] } },
      "an option's value": { spec: { containers: [{ command: ["run", "--token", "hunter2"] }] } },
      "a line for a shell": { spec: { containers: [{ command: ["sh", "-c", "TOKEN=hunter2 run"] }] } },
      "an address with a password": { message: "GET https://me:hunter2@proxy:3128/x failed" },
      "a header in an Event": { message: "Authorization: Bearer hunter2" },
      "a token in an Event": { message: `401 for ${jwt}` },
      "a network's configuration": {
        spec: { config: JSON.stringify({ type: "x", clientKey: "hunter2", tls: { "tls.key": "hunter2" } }) },
      },
      "a network's configuration that is no JSON": { spec: { config: '{"type":"x","password":"hunter2",' } },
      "a Secret": { kind: "Secret", data: { a: "hunter2" }, stringData: { b: "hunter2" } },
    })) {
      const shown = JSON.stringify(redact(value));
      assert.ok(!shown.includes("hunter2"), `${where}: ${shown}`);
      assert.ok(shown.includes("REDACTED"), where);
    }
  });

  it("does not change anything else that support needs", () => {
    const value = {
      metadata: { name: "web-0", annotations: { "v1.multus-cni.io/default-network": "kube-system/ovs-conf" } },
      spec: {
        serviceAccountName: "agent",
        volumes: [{ secret: { secretName: "certs" } }],
        affinity: { matchExpressions: [{ key: "app", values: ["web"] }] },
        config: '{"cniVersion":"0.3.1","name":"x","plugins":[{"type":"ovs","bridge":"br1"}]}',
      },
      message: 'failed to find plugin "ptp" in path [/opt/cni/bin]: see https://example.com/a?b=c#d for 10.6.0.1/16',
    };
    assert.deepEqual(redact(value), value);
  });
});

it("bundle stays below 20 MB and counts omitted objects", async () => {
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

it("bundle writes no file if nothing could be read", async () => {
  const api = new FakeApi();
  api.faults = () => ({ kind: "status", status: 403, reason: "Forbidden" });
  const file = join(tmpdir(), "never-written.json.gz");
  const { status, err } = await runCtl(api, ["bundle", "-f", file]);
  assert.deepEqual([status, existsSync(file)], [2, false]);
  assert.match(err, /nothing could be read, and no file was written: .*Forbidden/);
});

it("bundle says where else it can be written to where its file cannot", async () => {
  const { status, err } = await runCtl(new FakeApi(), ["bundle", "-f", "/proc/nowhere/b.json.gz"]);
  assert.equal(status, 2);
  assert.match(err, /the bundle cannot be written: .*nowhere.*; name another file with -f FILE, or - for stdout/);
});

it("bundle accepts its file as -o, too, and no format", async () => {
  assert.equal((await bundle(new FakeApi(), "-o")).status, 0);
  for (const flags of [
    ["-o", "json"],
    ["-f", "a", "-o", "b"],
  ]) {
    const { status, err } = await runCtl(new FakeApi(), ["bundle", ...flags]);
    assert.deepEqual([status, /name the file to write, once, with -f FILE/.test(err)], [2, true], err);
  }
});
