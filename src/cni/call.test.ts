import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { formatArgs, parseArgs } from "./args.ts";
import { type CniEnv, decodeCall, encodeEnv, failureOutput, successOutput } from "./call.ts";
import { CniError } from "./errors.ts";
import { stdinBytesMax } from "./limits.ts";
import type { CniRequest } from "./types.ts";
import { verbs } from "./types.ts";

const env = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c0ffee",
  CNI_NETNS: "/var/run/netns/cni-1",
  CNI_IFNAME: "eth0",
  CNI_PATH: "/opt/cni/bin:/usr/lib/cni",
};
const config = { cniVersion: "1.1.0", name: "net", type: "macvlan" };

function decode(changes: CniEnv, stdin: unknown = config, pathRequired = true): CniRequest {
  const bytes =
    stdin instanceof Uint8Array ? stdin : Buffer.from(typeof stdin === "string" ? stdin : JSON.stringify(stdin));
  const call = decodeCall({ executable: "macvlan", env: { ...env, ...changes }, stdin: bytes }, { pathRequired });
  assert.equal(call.kind, "request");
  return call.request;
}

function refusal(changes: CniEnv, stdin?: unknown): string {
  try {
    decode(changes, stdin);
  } catch (error) {
    assert.ok(error instanceof CniError, String(error));
    return `${error.cniCode} ${error.message}${error.text && `; ${error.text}`}`;
  }
  assert.fail("accepted");
}

describe("decodeCall()", () => {
  it("reads what containerd sends for a default network", () => {
    const id = "5f0e".repeat(16);
    const request = decode(
      {
        CNI_CONTAINERID: id,
        CNI_ARGS: `K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=${id};K8S_POD_UID=0a1b;IgnoreUnknown=1;K8S_POD_NAMESPACE=default`,
      },
      {
        capabilities: { portMappings: true },
        cniVersion: "0.3.1",
        name: "multus-cni-network",
        type: "multus",
        runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "" }] },
      },
    );
    assert.equal(request.verb, "ADD");
    assert.deepEqual([request.containerId, request.ifName, request.netns], [id, "eth0", env.CNI_NETNS]);
    assert.deepEqual(request.pod, { namespace: "default", name: "web-0", uid: "0a1b" });
    assert.deepEqual(request.path, ["/opt/cni/bin", "/usr/lib/cni"]);
    assert.deepEqual(
      [request.config.type, request.config.cniVersion, request.executable],
      ["multus", "0.3.1", "macvlan"],
    );
    assert.ok("runtimeConfig" in request.config.raw);
  });

  it("needs no stdin for VERSION and no variable for the about text", () => {
    const stdin = new Uint8Array();
    assert.deepEqual(decodeCall({ executable: "x", env: { CNI_COMMAND: "VERSION" }, stdin }), { kind: "version" });
    assert.deepEqual(decodeCall({ executable: "x", env: {}, stdin }), { kind: "about" });
  });

  it("names every missing variable at once, in the order of the specification", () => {
    const none = { CNI_CONTAINERID: "", CNI_NETNS: undefined, CNI_IFNAME: "", CNI_PATH: "" };
    const missing = (names: string) => `4 required env variables [${names}] missing`;
    assert.equal(refusal(none), missing("CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"));
    assert.equal(refusal({ ...none, CNI_COMMAND: "CHECK" }), missing("CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"));
    assert.equal(refusal({ ...none, CNI_COMMAND: "DEL" }), missing("CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"));
    assert.equal(refusal({ ...none, CNI_COMMAND: "GC" }), missing("CNI_PATH"));
    for (const name of ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]) {
      assert.equal(refusal({ [name]: "" }), missing(name));
    }
    assert.deepEqual(decode({ CNI_PATH: "" }, config, false).path, []);
  });

  it("refuses names that the kernel or a file system would not take", () => {
    assert.equal(refusal({ CNI_IFNAME: "x".repeat(16) }), `4 interface name is too long; ${"x".repeat(16)}`);
    assert.match(refusal({ CNI_IFNAME: ".." }), /^4 interface name is \. or \.\.;/);
    for (const name of ["a/b", "a:b", "a b"]) {
      assert.match(refusal({ CNI_IFNAME: name }), /^4 interface name contains \/ or : or whitespace characters;/);
    }
    assert.match(refusal({ CNI_IFNAME: "nét1" }), /^4 interface name contains characters other than those of ASCII;/);
    assert.match(refusal({ CNI_IFNAME: "net%d" }), /^4 interface name contains %,/);
    for (const name of ["all", "default"]) assert.match(refusal({ CNI_IFNAME: name }), /the kernel's settings/);
    assert.match(refusal({ CNI_CONTAINERID: "../etc" }), /^4 invalid characters in containerID/);
  });

  it("checks in order: environment, size, JSON, name, version, verb of the version, verb", () => {
    assert.match(refusal({ CNI_IFNAME: "a/b" }, "{"), /^4 /);
    assert.match(refusal({}, new Uint8Array(stdinBytesMax + 1)), /^5 .*; bytes 4194305, allowed 4194304$/);
    assert.match(refusal({}, "{"), /^6 failed to decode network configuration; /);
    assert.match(refusal({}, "[1]"), /^6 .*expected an object, found an array$/);
    assert.match(refusal({}, Buffer.from([0x7b, 0xff, 0x7d])), /^6 /);
    assert.match(refusal({}, "[".repeat(100)), /^6 .*nested 100 levels deep, allowed are 64$/);
    assert.equal(refusal({}, { cniVersion: "9.9.9" }), "7 missing network name");
    assert.match(refusal({}, { ...config, name: "-x" }), /^7 invalid characters found in network name/);
    assert.equal(
      refusal({ CNI_COMMAND: "CHECK" }, { ...config, cniVersion: "9.9.9" }),
      '1 incompatible CNI versions; config is "9.9.9", plugin supports ["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]',
    );
    assert.match(refusal({}, { name: "net" }), /^1 incompatible CNI versions; config is "0\.1\.0"/);
    assert.match(
      refusal({ CNI_COMMAND: "CHECK" }, { ...config, cniVersion: "0.3.1" }),
      /^1 config version does not allow CHECK/,
    );
    assert.match(
      refusal({ CNI_COMMAND: "GC" }, { ...config, cniVersion: "1.0.0" }),
      /^1 config version does not allow GC/,
    );
    assert.match(
      refusal({ CNI_COMMAND: "STATUS" }, { ...config, cniVersion: "1.0.0" }),
      /^1 config version does not allow STATUS/,
    );
    assert.equal(refusal({ CNI_COMMAND: "add" }), "4 unknown CNI_COMMAND: add");
  });

  it("takes a stdin of 1 MiB, and brackets within strings", () => {
    const filler = `${"[{".repeat(1 << 19)}\\"`;
    assert.equal(decode({}, { ...config, filler }).config.raw["filler"], filler);
  });

  it("reads the previous result in its own version, and ignores a malformed one at a DEL", () => {
    const prevResult = { cniVersion: "0.3.1", ips: [{ version: "4", address: "10.0.0.1/8" }], dns: {} };
    assert.equal(decode({}, { ...config, prevResult }).config.prevResult?.ips.length, 1);
    assert.equal(decode({ CNI_COMMAND: "DEL" }, { ...config, prevResult: [] }).config.prevResult, undefined);
    assert.match(refusal({}, { ...config, prevResult: [] }), /^6 failed to decode prevResult/);
  });

  it("never throws anything but a CniError, whatever arrives", () => {
    const value = fc.option(fc.string({ unit: "binary", maxLength: 20 }), { nil: undefined });
    const anyEnv = fc.record({
      CNI_COMMAND: fc.constantFrom(...verbs, "VERSION", "", "x"),
      CNI_CONTAINERID: fc.oneof(fc.constant("c1"), value),
      CNI_NETNS: fc.constant("/n"),
      CNI_IFNAME: fc.oneof(fc.constant("eth0"), value),
      CNI_ARGS: value,
    });
    const stdin = fc.oneof(
      fc.json(),
      fc.object().map((more) => JSON.stringify({ ...more, ...config })),
      fc.string(),
    );
    fc.assert(
      fc.property(anyEnv, stdin, (some, text) => {
        try {
          decodeCall({ executable: "x", env: some, stdin: Buffer.from(text) });
        } catch (error) {
          assert.ok(error instanceof CniError, String(error));
        }
      }),
    );
  });
});

describe("encodeEnv()", () => {
  it("is the inverse of decodeCall for every variable", () => {
    for (const verb of verbs) {
      const request = { ...decode({ CNI_NETNS_OVERRIDE: "True", CNI_ARGS: "A=1;B=" }), verb };
      const { config: _config, ...again } = decode(encodeEnv(request, request.args));
      assert.deepEqual({ ...again, config }, { ...request, config });
    }
  });
});

describe("CNI_ARGS", () => {
  it("keeps the last of repeated keys and unknown keys, with or without IgnoreUnknown", () => {
    assert.deepEqual(
      [...parseArgs("IP=1;X=2;IP=3")],
      [
        ["IP", "3"],
        ["X", "2"],
      ],
    );
    assert.equal(parseArgs("").size, 0);
  });

  it("needs exactly one = in each item", () => {
    for (const [text, item] of [
      ["A", "A"],
      ["A=1;", ""],
      ["A=1;B=2=3", "B=2=3"],
    ] as const) {
      assert.throws(() => parseArgs(text), { cniCode: 4, message: `ARGS: invalid pair ${JSON.stringify(item)}` });
    }
  });

  it("comes back from its text", () => {
    const word = fc.string({ maxLength: 8 }).filter((text) => !/[;=]/.test(text));
    fc.assert(
      fc.property(fc.array(fc.tuple(word, word), { minLength: 1 }), (pairs) => {
        assert.deepEqual(parseArgs(formatArgs(pairs)), new Map(pairs));
      }),
    );
  });
});

describe("a plugin's answer", () => {
  it("is a document and 0, nothing and 0, or an error and 1", () => {
    assert.deepEqual(String(successOutput({ a: 1 }).stdout), '{\n    "a": 1\n}');
    assert.deepEqual([successOutput().exitCode, successOutput().stdout.length], [0, 0]);
    const { exitCode, stdout } = failureOutput(
      new CniError(7, "bad", { details: { field: "vlan", found: 5000 } }),
      "0.3.1",
    );
    assert.equal(exitCode, 1);
    assert.deepEqual(JSON.parse(String(stdout)), {
      cniVersion: "0.3.1",
      code: 7,
      msg: "bad",
      details: "field vlan, found 5000",
    });
  });

  it("says last what can be done", () => {
    const advised = (details: object) => new CniError(999, "gone", { details: { ...details, fix: "look" } }).text;
    assert.equal(advised({}), "What to do: look");
    assert.equal(advised({ path: "/x" }), "path /x. What to do: look");
  });

  it("has code 999 for an error that has none, with the words of all its causes", () => {
    const error = new TypeError("no", { cause: new Error("why") });
    assert.deepEqual(JSON.parse(String(failureOutput(error, "1.0.0").stdout)), {
      cniVersion: "1.0.0",
      code: 999,
      msg: "no: why",
    });
  });
});
