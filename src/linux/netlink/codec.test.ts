import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { hasCode } from "#base";
import { Attributes, MessageWriter, requireHeader } from "./attributes.ts";
import { controlTypes, decodeMessages, decodeOutcome, encodeMessages } from "./message.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** Runs `read` on every shorter version: it must refuse or return, never throw anything else or read beyond. */
function truncations(bytes: Uint8Array, read: (bytes: Uint8Array) => unknown): { refused: number; accepted: number } {
  const counts = { refused: 0, accepted: 0 };
  for (let length = 0; length < bytes.length; length++) {
    try {
      read(bytes.slice(0, length));
      counts.accepted += 1;
    } catch (error) {
      assert.ok(hasCode(error, "NETLINK_MALFORMED"), `${length}: ${error}`);
      counts.refused += 1;
    }
  }
  return counts;
}

describe("attributes", () => {
  test("are written as the kernel lays them out", () => {
    const bytes = new MessageWriter()
      .u8(2)
      .u8(24)
      .u16(0xfffe)
      .u32(-1)
      .putU8(1, 7)
      .putU16(2, 0x1234)
      .putU32(3, 0x12345678)
      .putU32be(4, 0x12345678)
      .putText(5, "eth0")
      .putBytes(6, new Uint8Array())
      .nest(7, (nested) => nested.putU8(1, 9))
      .finish();
    const expected = [
      "0218feff" + "ffffffff",
      "0500010007000000",
      "0600020034120000",
      "0800030078563412",
      "0800040012345678",
      "090005006574683000000000",
      "04000600",
      "0c0007800500010009000000",
    ];
    assert.equal(hex(bytes), expected.join(""));
    const attributes = new Attributes(bytes, 8);
    assert.deepEqual(
      [
        attributes.u8(1),
        attributes.u16(2),
        attributes.u32(3),
        attributes.text(5),
        attributes.has(6),
        attributes.nested(7)?.u8(1),
        attributes.u32(8),
      ],
      [7, 0x1234, 0x12345678, "eth0", true, 9, undefined],
    );
  });

  test("come back as they were written, whatever their types, lengths and order", () => {
    const attribute = fc.record({
      type: fc.integer({ min: 1, max: 0x3fff }),
      value: fc.uint8Array({ maxLength: 600, size: "max" }),
    });
    fc.assert(
      fc.property(fc.array(attribute, { maxLength: 20 }), (attributes) => {
        const writer = new MessageWriter();
        for (const { type, value } of attributes) writer.putBytes(type, value);
        const bytes = writer.finish();
        assert.equal(bytes.length % 4, 0);
        const read = new Attributes(bytes);
        // Of several of one type, the last is read.
        for (const [type, value] of new Map(attributes.map(({ type, value }) => [type, value])))
          assert.equal(hex(read.bytes(type) ?? assert.fail(`no attribute ${type}`)), hex(value));
      }),
    );
  });

  test("that are cut off anywhere are refused, or were complete up to there", () => {
    const bytes = new MessageWriter()
      .putU32(1, 1)
      .putText(2, "abcdef")
      .nest(3, (nested) => nested.putU32(1, 2))
      .finish();
    const { refused, accepted } = truncations(bytes, (cut) => new Attributes(cut));
    // Whole after 0, 8 and 8 + 11 (+ 1 of padding) bytes.
    assert.deepEqual([refused, accepted], [bytes.length - 4, 4]);
  });

  test("never make a reader fail in another way, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200, size: "max" }), (bytes) => {
        try {
          const attributes = new Attributes(bytes);
          // Attributes begin at multiples of four.
          for (let at = 0; at + 4 <= bytes.length; at += 4) {
            const type = new DataView(bytes.buffer, bytes.byteOffset).getUint16(at + 2, true) & 0x3fff;
            attributes.text(type);
            attributes.u32(type);
            attributes.nested(type);
          }
        } catch (error) {
          assert.ok(hasCode(error, "NETLINK_MALFORMED"));
        }
      }),
    );
  });

  test("shorter than the number that is read from them are refused", () => {
    const attributes = new Attributes(new MessageWriter().putU8(1, 1).finish());
    assert.throws(() => attributes.u32(1), { code: "NETLINK_MALFORMED" });
    assert.throws(() => requireHeader(new Uint8Array(3), 4), { code: "NETLINK_MALFORMED" });
  });

  test("longer than their length field are refused when written", () => {
    assert.throws(() => new MessageWriter().putBytes(1, new Uint8Array(65_532)), RangeError);
    const half = new Uint8Array(40_000);
    assert.throws(
      () => new MessageWriter().nest(1, (nested) => nested.putBytes(1, half).putBytes(2, half)),
      RangeError,
    );
  });
});

describe("messages", () => {
  const messages = [
    { type: 18, flags: 5, sequence: 7, body: Uint8Array.of(1, 2, 3, 4, 5) },
    { type: 3, flags: 2, sequence: 8, body: new Uint8Array(0) },
  ];

  test("are packed with padding between them and read back", () => {
    const bytes = encodeMessages(messages);
    assert.equal(
      hex(bytes),
      "15000000120005000700000000000000" + "0102030405000000" + "10000000030002000800000000000000",
    );
    assert.deepEqual(
      decodeMessages(bytes).map((message) => ({ ...message, body: Uint8Array.from(message.body) })),
      messages,
    );
  });

  test("that are cut off anywhere are refused, or were complete up to there", () => {
    const { accepted } = truncations(encodeMessages(messages), (bytes) => decodeMessages(bytes));
    assert.equal(accepted, 5); // after 0 and after 21 to 24 bytes
  });

  const outcome = (flags: number, ...words: readonly number[]) => {
    const body = new MessageWriter();
    for (const word of words) body.u32(word);
    return { flags, body };
  };
  const request = [20, 0x0005_0010, 1, 2] as const;

  test("of an error carry the number and the kernel's text, with the request capped or whole", () => {
    const text = (writer: MessageWriter) => writer.putText(1, "no luck").finish();
    const capped = outcome(0x300, -17, ...request);
    const whole = outcome(0x200, -17, ...request, 0xdead);
    for (const { flags, body } of [capped, whole]) {
      const message = { type: controlTypes.error, flags, sequence: 1, body: text(body) };
      assert.deepEqual(decodeOutcome(message), { errno: 17, extendedText: "no luck" });
      truncations(message.body, (cut) => decodeOutcome({ ...message, body: cut }));
    }
  });

  test("of an acknowledgement and of a dump's end are success", () => {
    const { body } = outcome(0x100, 0, ...request);
    const base = { flags: 0x100, sequence: 1 };
    const success = { errno: 0, extendedText: undefined };
    assert.deepEqual(decodeOutcome({ ...base, type: controlTypes.error, body: body.finish() }), success);
    assert.deepEqual(decodeOutcome({ ...base, type: controlTypes.done, body: new Uint8Array(0) }), success);
  });
});
