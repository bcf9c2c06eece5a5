import { SpiderError } from "#base";

/**
 * The lines of a watch, wherever the chunks are cut. Throws `API_WATCH_LINE` for a line longer than `maxBytes` and for
 * a stream that ends within a line: what follows a gap in a watch cannot be trusted.
 */
export async function* splitLines(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<string, void, undefined> {
  let rest: Uint8Array[] = [];
  let restBytes = 0;
  for await (const chunk of body) {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      if (restBytes + end - start > maxBytes) throw tooLong(maxBytes);
      const line = Buffer.concat([...rest, chunk.subarray(start, end)]).toString("utf8");
      rest = [];
      restBytes = 0;
      start = end + 1;
      if (line !== "" && line !== "\r") yield line;
    }
    if (start < chunk.length) {
      rest.push(chunk.subarray(start));
      restBytes += chunk.length - start;
      if (restBytes > maxBytes) throw tooLong(maxBytes);
    }
  }
  if (restBytes > 0) throw lineError("the watch ended within a line", { bytes: restBytes });
}

/** The error of every line of a watch that is not an event. */
export function lineError(message: string, details: Readonly<Record<string, unknown>>, cause?: unknown): SpiderError {
  return new SpiderError("API_WATCH_LINE", message, { details, cause });
}

const newline = 0x0a;

function tooLong(maxBytes: number): SpiderError {
  return lineError("a line of the watch is too long", { maxBytes });
}
