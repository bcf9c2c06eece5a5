import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { limits } from "../limits.ts";
import { type AnswerHead, AnswerReader } from "./answer.ts";

interface Read {
  readonly head: AnswerHead | undefined;
  readonly body: string;
  /** Undefined: not ended. */
  readonly reusable: boolean | undefined;
  readonly closes: boolean;
}

/** What is read of these pieces, and of the end of the connection after them. */
function read(pieces: readonly (string | Buffer)[], method = "GET"): Read {
  let head: AnswerHead | undefined;
  const body: Uint8Array[] = [];
  let reusable: boolean | undefined;
  const reader = new AnswerReader(
    {
      began: (begun) => {
        assert.equal(head, undefined, "one head");
        head = begun;
      },
      brought: (bytes) => {
        assert.ok(head !== undefined && reusable === undefined && bytes.length > 0);
        body.push(bytes);
      },
      ended: (isReusable) => {
        assert.ok(head !== undefined && reusable === undefined);
        reusable = isReusable;
      },
    },
    method,
  );
  for (const piece of pieces) reader.push(Buffer.from(piece));
  const closes = reusable === undefined && reader.close();
  return { head, body: Buffer.concat(body).toString("utf8"), reusable, closes };
}

const status = "HTTP/1.1 200 OK\r\n";
const chunked = `${status}Transfer-Encoding: chunked\r\n\r\n`;

describe("AnswerReader", () => {
  it("reads a body of known length, in chunks, up to the end of the connection, and none", () => {
    const ok = (headers: Readonly<Record<string, string>>) => ({ status: 200, headers });
    assert.deepEqual(read([`${status}Content-Length: 5\r\n\r\nhello`]), {
      head: ok({ "content-length": "5" }),
      body: "hello",
      reusable: true,
      closes: false,
    });
    assert.deepEqual(read([`${chunked}2\r\nhe\r\n03 ;x=y\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n`]), {
      head: ok({ "transfer-encoding": "chunked" }),
      body: "hello",
      reusable: true,
      closes: false,
    });
    assert.deepEqual(read([`${status}\r\nhello`]), { head: ok({}), body: "hello", reusable: false, closes: true });
    for (const [answer, method] of [
      [`${status}Content-Length: 0\r\n\r\n`, "PUT"],
      ["HTTP/1.1 204 No Content\r\n\r\n", "DELETE"],
      ["HTTP/1.1 304\r\nContent-Length: 9\r\n\r\n", "GET"],
      [`${status}Content-Length: 9\r\n\r\n`, "HEAD"],
    ] as const) {
      const { body, reusable } = read([answer], method);
      assert.deepEqual([body, reusable], ["", true], answer);
    }
  });

  it("finds the same wherever the pieces are cut", () => {
    const bodies = fc.array(fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }), { maxLength: 4 });
    const cuts = fc.array(fc.nat(400), { maxLength: 8 });
    fc.assert(
      fc.property(bodies, cuts, fc.boolean(), (parts, at, isChunked) => {
        const whole = parts.join("");
        const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
        const bytes = Buffer.from(
          isChunked
            ? `HTTP/1.1 100 Continue\r\n\r\n${chunked}${parts.map(chunk).join("")}0\r\n\r\n`
            : `${status}content-length: ${Buffer.byteLength(whole)}\r\nx: 1\r\nkeep-alive: timeout=1\r\nKeep-Alive: \tmax=2 \r\n\r\n${whole}`,
        );
        const edges = [0, ...at.map((n) => Math.min(n, bytes.length)).sort((a, b) => a - b), bytes.length];
        const pieces = edges.slice(1).map((end, n) => bytes.subarray(edges[n], end));
        const found = read(pieces.filter(({ length }) => length > 0));
        assert.deepEqual([found.body, found.reusable, found.head?.status], [whole, true, 200]);
        if (isChunked) return;
        const headers = { "content-length": `${Buffer.byteLength(whole)}`, "keep-alive": "timeout=1, max=2" };
        assert.deepEqual(found.head?.headers, headers);
      }),
    );
  });

  it("does not take the connection for reusable where the server closes it or says more than was asked", () => {
    const length = "Content-Length: 2\r\n";
    for (const answer of [
      `${status}${length}Connection: keep-alive, Close\r\n\r\n{}`,
      `HTTP/1.0 200 OK\r\n${length}\r\n{}`,
      `${status}${length}\r\n{}${status}${length}\r\n[]`,
    ]) {
      const { body, reusable } = read([answer]);
      assert.deepEqual([body, reusable], ["{}", false], answer);
    }
  });

  it("refuses what is no answer, or could be read in two ways", () => {
    for (const [answer, expected] of [
      ["SSH-2.0-OpenSSH_9.6\r\n", /no status of HTTP\/1.1: "SSH-2.0/],
      ["HTTP/2 200\r\n", /no status/],
      ["HTTP/1.1 2000\r\n", /no status/],
      ["HTTP/1.1 101 Switching Protocols\r\n\r\n", /another protocol/],
      [`${status}x: 1\n\r\n`, /CR LF/],
      [`${status}x : 1\r\n`, /no header: "x : 1"/],
      [`${status}x: 1\r\n y\r\n`, /no header: " y"/],
      [`${status}content-length: +2\r\n\r\n`, /no length: "\+2"/],
      [`${status}content-length: 2\r\ncontent-length: 3\r\n\r\n`, /no length: "2, 3"/],
      [`${status}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n`, /a length and a transfer encoding/],
      [`${status}transfer-encoding: gzip, chunked\r\n\r\n`, /another transfer encoding than chunked: "gzip/],
      [`${chunked}-1\r\n`, /no size of a chunk/],
      [`${chunked}fffffffffffff\r\n`, /no size of a chunk/],
      [`${chunked}2\r\n{}!\r\n`, /more than its size in a chunk/],
      [`${status}x: ${"y".repeat(limits.headBytesMax)}`, /more than 65536 bytes of head/],
      [status + "x: 1\r\n".repeat(limits.headBytesMax / 5), /more than 65536 bytes of head/],
      [`${chunked}0\r\n${"x: 1\r\n".repeat(limits.headBytesMax / 5)}`, /more than 65536 bytes of head/],
    ] as const) {
      assert.throws(() => read([answer]), expected, answer.slice(0, 80));
    }
  });

  it("counts a line that arrives byte by byte once", () => {
    const answer = `${status}x: ${"y".repeat(1_000)}\r\ncontent-length: 2\r\n\r\n{}`;
    assert.equal(read([...answer]).body, "{}");
  });

  it("reads any number of chunks: the bound is of each one's head", () => {
    const count = limits.headBytesMax / 2;
    assert.equal(read([`${chunked}${"1\r\nx\r\n".repeat(count)}0\r\n\r\n`]).body.length, count);
  });

  it("is not at its end where the connection ends within a head, a body or a chunk", () => {
    for (const answer of ["HTTP/1.1 2", status, `${status}content-length: 3\r\n\r\n{}`, `${chunked}2\r\n{}\r\n`]) {
      const { reusable, closes } = read([answer]);
      assert.deepEqual([reusable, closes], [undefined, false], answer);
    }
  });
});
