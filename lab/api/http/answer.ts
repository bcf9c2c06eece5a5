import type { ApiResponse } from "../types.ts";

const encoder = new TextEncoder();

/** The largest int64, to which counts are clamped, as JSON.stringify writes what JSON.parse made of it. */
const roundedUp = String(2 ** 63);

/** JSON in which the largest int64 is not rounded up, which clients could not read as one. */
function textOf(body: object): string {
  return JSON.stringify(body).replaceAll(roundedUp, String(2n ** 63n - 1n));
}

/** A JSON answer. */
export function json(status: number, body: object, headers: Readonly<Record<string, string>> = {}): ApiResponse {
  return bytes(status, textOf(body), { "content-type": "application/json", ...headers });
}

/** A short plain text, as the health checks give. */
export function plain(status: number, text: string): ApiResponse {
  return bytes(status, text, { "content-type": "text/plain; charset=utf-8" });
}

/** A stream of JSON documents, one on each line. */
export function jsonLines(lines: AsyncIterable<object>): ApiResponse {
  async function* body(): AsyncGenerator<Uint8Array> {
    for await (const line of lines) yield encoder.encode(`${textOf(line)}\n`);
  }
  return { status: 200, headers: { "content-type": "application/json" }, body: body() };
}

function bytes(status: number, text: string, headers: Readonly<Record<string, string>>): ApiResponse {
  const encoded = encoder.encode(text);
  async function* body(): AsyncGenerator<Uint8Array> {
    yield encoded;
  }
  return { status, headers: { ...headers, "content-length": String(encoded.length) }, body: body() };
}
