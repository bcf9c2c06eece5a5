import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PluginOutput } from "./call.ts";
import { CniError } from "./errors.ts";
import { decodeOutput } from "./foreign.ts";
import { emptyResult } from "./result.ts";

const call = { verb: "ADD", type: "bridge", network: "net", cniVersion: "1.0.0" } as const;
const output = (exitCode: number, stdout: string, stderr = ""): PluginOutput => ({
  exitCode,
  stdout: Buffer.from(stdout),
  stderr: Buffer.from(stderr),
});

function failure(found: PluginOutput): string {
  try {
    decodeOutput(call, found);
  } catch (error) {
    assert.ok(error instanceof CniError);
    return `${error.cniCode} ${error.message}${error.text && `; ${error.text}`}`;
  }
  assert.fail("succeeded");
}

describe("decodeOutput()", () => {
  it("reads the result of an ADD and ignores what other verbs print", () => {
    assert.equal(decodeOutput(call, output(0, '{"ips":[{"address":"10.0.0.1/8"}]}')).ips.length, 1);
    assert.deepEqual(decodeOutput({ ...call, verb: "DEL" }, output(0, "bye")), emptyResult);
  });

  it("throws the plugin's own error under its name, with its number", () => {
    const error = '{"code":11,"msg":"later","details":"busy"}';
    assert.equal(failure(output(1, error)), '11 plugin type="bridge" name="net" failed (add): later; busy');
  });

  it("says what is known if the plugin's output is malformed", () => {
    const prefix = '999 plugin type="bridge" name="net" failed (add): netplugin failed';
    assert.equal(failure(output(2, "")), `${prefix} with no error message: exit status 2`);
    assert.equal(failure(output(2, "", "oops\n")), `${prefix}: "oops": exit status 2`);
    assert.equal(
      failure(output(1, "panic")),
      `${prefix} but error parsing its diagnostic message; "panic": exit status 1`,
    );
    const killed = { signal: 9, stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
    assert.equal(failure(killed), `${prefix} with no error message: signal 9`);
  });

  it("names the plugin whose result is malformed", () => {
    assert.match(
      failure(output(0, '{"ips":[{}]}')),
      /^6 plugin type="bridge" .*: invalid CNI result; ips\[0\]\.address/,
    );
    assert.match(failure(output(0, "")), /^6 plugin type="bridge" .*: failed to decode result/);
  });
});
