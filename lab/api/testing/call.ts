import { Readable } from "node:stream";
import { json as readJson, text } from "node:stream/consumers";
import type { ApiResponse, Fields, LabApi } from "../index.ts";

/** An answer with its body read. */
interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Fields;
}

/** Sends one call in process and reads the JSON answer. */
export async function call(api: LabApi, method: string, path: string, body?: unknown, type?: string): Promise<Answer> {
  const content = body === undefined ? {} : { body: new TextEncoder().encode(JSON.stringify(body)) };
  const headers = { "content-type": type ?? "application/json" };
  const response = await api.handle({ method, path, headers, ...content });
  return { status: response.status, headers: response.headers, body: await bodyOf(response) };
}

/** Gets with an Accept header. */
export async function getAs(api: LabApi, path: string, accept: string): Promise<Answer> {
  const response = await api.handle({ method: "GET", path, headers: { accept } });
  return { status: response.status, headers: response.headers, body: await bodyOf(response) };
}

async function bodyOf(response: ApiResponse): Promise<Fields> {
  const stream = Readable.from(response.body);
  if (response.headers["content-type"]?.includes("json")) return (await readJson(stream)) as Fields;
  return { text: await text(stream) };
}

/** A line of a watch. */
interface WatchLine {
  readonly type: string;
  readonly object: Fields;
}

/** Opens a watch; `next()` waits for its next line, `close()` ends it. */
export async function openWatch(api: LabApi, path: string, accept = "application/json") {
  const stop = new AbortController();
  const response = await api.handle({ method: "GET", path, headers: { accept } }, { signal: stop.signal });
  const lines = response.body[Symbol.asyncIterator]();
  const decoder = new TextDecoder();
  return {
    next: async (): Promise<WatchLine | undefined> => {
      const { value, done } = await lines.next();
      return done === true ? undefined : (JSON.parse(decoder.decode(value)) as WatchLine);
    },
    close: () => stop.abort(),
  };
}
