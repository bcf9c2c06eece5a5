import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { hasCode, SpiderError } from "#base";
import { decodeFrame, encodeFrame, type Frame, FrameReader } from "./frames.ts";
import { frameBytesMax, frameVariablesMax } from "./limits.ts";

const bytes = fc.uint8Array({ maxLength: 40 }).map((some) => Buffer.from(some));
const env = fc.dictionary(fc.stringMatching(/^[A-Z][A-Z_]{0,8}$/), fc.string({ maxLength: 10 }), {
  maxKeys: 5,
  noNullPrototype: true,
});
const u32 = fc.nat();
const streams = { stdout: bytes, stderr: bytes };
const frame: fc.Arbitrary<Frame> = fc
  .oneof(
    fc.record({ kind: fc.constant("call" as const), executable: fc.string(), env, stdin: bytes }),
    fc.record({
      kind: fc.constant("exec" as const),
      path: fc.string(),
      argv0: fc.string(),
      env,
      stdin: bytes,
      timeoutMs: u32,
    }),
    fc.record({ kind: fc.constant("result" as const), exitCode: u32, ...streams }),
    fc.record({ kind: fc.constant("output" as const), exitCode: u32, ...streams }),
    fc.record({ kind: fc.constant("output" as const), signal: u32, ...streams }),
  )
  .map((one) => ({ ...one }));

const invalid = (error: unknown) => hasCode(error, "FRAME_INVALID");
const call: Frame = { kind: "call", executable: "ovs", env: { CNI_COMMAND: "ADD" }, stdin: Buffer.from("{}") };

describe("frames", () => {
  it("have these bytes", () => {
    const hex = (one: Frame) => Buffer.from(encodeFrame(one)).toString("hex");
    assert.equal(
      hex(call),
      "53504301" +
        "01000000" +
        "00000023" + // SPC and version 1; call; 35 bytes
        "01" +
        "00000003" +
        "6f7673" + // argv0 "ovs"
        "02" +
        "0000000f" +
        "434e495f434f4d4d414e443d414444" + // env "CNI_COMMAND=ADD"
        "03" +
        "00000002" +
        "7b7d", // stdin "{}"
    );
    assert.equal(
      hex({ kind: "output", signal: 9, stdout: Buffer.from("o"), stderr: Buffer.alloc(0) }),
      "53504301" +
        "04000000" +
        "00000014" +
        "09" +
        "00000004" +
        "00000009" +
        "05" +
        "00000001" +
        "6f" +
        "06" +
        "00000000",
    );
  });

  it("come back from their bytes, alone and in a stream cut anywhere", () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 3 }), fc.array(fc.nat(300), { maxLength: 6 }), (frames, cuts) => {
        for (const one of frames) assert.deepEqual(decodeFrame(encodeFrame(one)), one);
        const stream = Buffer.concat(frames.map(encodeFrame));
        const places = [0, ...cuts.map((cut) => Math.min(cut, stream.length)).sort((a, b) => a - b), stream.length];
        const reader = new FrameReader();
        const read = places.flatMap((place, at) => reader.push(stream.subarray(places[at - 1] ?? 0, place)));
        assert.deepEqual(read, frames);
        assert.equal(reader.pendingBytes, 0);
      }),
    );
  });

  it("are refused when cut at any length, and read on as unfinished by a reader", () => {
    const whole = encodeFrame(call);
    for (let length = 0; length < whole.length; length++) {
      assert.throws(() => decodeFrame(whole.subarray(0, length)), invalid);
      const reader = new FrameReader();
      assert.deepEqual(reader.push(whole.subarray(0, length)), []);
      assert.equal(reader.pendingBytes, length);
    }
  });

  it("never break the decoder otherwise than by FRAME_INVALID", () => {
    const noise = fc.tuple(frame, fc.nat(), fc.nat(255)).map(([one, at, value]) => {
      const changed = Buffer.from(encodeFrame(one));
      changed[at % changed.length] = value;
      return changed;
    });
    fc.assert(
      fc.property(fc.oneof(noise, bytes), (some) => {
        try {
          decodeFrame(some);
        } catch (error) {
          assert.ok(invalid(error), String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("are bounded on both sides", () => {
    const big: Frame = { kind: "result", exitCode: 0, stdout: Buffer.alloc(frameBytesMax), stderr: Buffer.alloc(0) };
    assert.throws(
      () => encodeFrame(big),
      (error) => hasCode(error, "FRAME_TOO_LARGE"),
    );
    const header = Buffer.from(encodeFrame(call).subarray(0, 12));
    header.writeUInt32BE(frameBytesMax + 1, 8);
    assert.throws(() => new FrameReader().push(header), invalid);
    const many = Object.fromEntries(Array.from({ length: frameVariablesMax + 1 }, (_, at) => [`V${at}`, ""]));
    assert.throws(() => decodeFrame(encodeFrame({ ...call, env: many })), invalid);
  });

  it("of another version, kind or with strange fields are refused with the place", () => {
    const changed = (offset: number, value: number) => {
      const copy = Buffer.from(encodeFrame(call));
      copy[offset] = value;
      return copy;
    };
    const places = [
      [3, 2, 3],
      [4, 9, 4],
      [12, 99, 12],
      [12, 3, 28],
    ] as const;
    for (const [offset, value, place] of places) {
      assert.throws(
        () => decodeFrame(changed(offset, value)),
        (error) => error instanceof SpiderError && invalid(error) && typeof error.details["offset"] === "number",
        `${place}`,
      );
    }
  });
});
