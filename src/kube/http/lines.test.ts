import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { splitLines } from "./lines.ts";

describe("splitLines()", () => {
  it("finds the same lines wherever the chunks are cut", async () => {
    const text = Buffer.from('{"a":"ä€😀"}\n\r\n{"b":2}\n');
    for (let first = 0; first <= text.length; first++) {
      for (let second = first; second <= text.length; second += 3) {
        const chunks = [text.subarray(0, first), text.subarray(first, second), text.subarray(second)];
        assert.deepEqual(await collect(splitLines(chunked(chunks), 100)), ['{"a":"ä€😀"}', '{"b":2}']);
      }
    }
  });

  it("refuses a line that is too long, in one chunk or in many, and one that is cut off", async () => {
    const drain = (chunks: readonly string[]) => collect(splitLines(chunked(chunks.map((c) => Buffer.from(c))), 5));
    for (const chunks of [["123456\n"], ["123", "456"], ["123", "456\n"], ["12345\n", "12"]]) {
      await assert.rejects(drain(chunks), { code: "API_WATCH_LINE" }, chunks.join("|"));
    }
    assert.deepEqual(await drain(["123", "45\n"]), ["12345"]);
  });
});

async function collect(lines: AsyncIterable<string>): Promise<readonly string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

async function* chunked(chunks: readonly Uint8Array[]) {
  yield* chunks;
}
