import { SpiderError } from "#base";

const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/**
 * Cuts a byte stream into JSON objects. RFC 7047 §4 puts JSON-RPC objects on the stream one after another without any
 * framing, so that only counting braces outside of strings tells where one ends. All bytes that matter are ASCII: a chunk
 * may end within a UTF-8 sequence.
 */
export class JsonSplitter {
  readonly #bytesMax: number;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;

  constructor(options: { readonly bytesMax: number }) {
    this.#bytesMax = options.bytesMax;
  }

  /**
   * Takes the next bytes and returns the objects that are complete now.
   *
   * @throws SpiderError OVSDB_PROTOCOL for anything but white space between objects, text that is no JSON, or an object
   * of more than `bytesMax` bytes. The stream is unusable after that.
   */
  push(chunk: Buffer): unknown[] {
    const objects: unknown[] = [];
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === backslash) this.#escaped = true;
        else if (byte === quote) this.#inString = false;
      } else if (byte === openBrace || byte === openBracket) {
        if (this.#depth === 0) {
          if (byte === openBracket) throw notAnObject(chunk, at);
          start = at;
        }
        this.#depth++;
      } else if (this.#depth === 0) {
        if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) throw notAnObject(chunk, at);
      } else if (byte === quote) {
        this.#inString = true;
      } else if (byte === closeBrace || byte === closeBracket) {
        this.#depth--;
        if (this.#depth === 0) {
          this.#keep(chunk.subarray(start, at + 1));
          objects.push(this.#take());
        }
      }
    }
    if (this.#depth > 0) this.#keep(chunk.subarray(start));
    return objects;
  }

  #keep(bytes: Buffer): void {
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes > this.#bytesMax) {
      throw new SpiderError("OVSDB_PROTOCOL", "a message of the database server is too long", {
        details: { bytes: this.#pendingBytes, bytesMax: this.#bytesMax },
      });
    }
    this.#pending.push(bytes);
  }

  #take(): unknown {
    const text = Buffer.concat(this.#pending, this.#pendingBytes).toString("utf8");
    this.#pending = [];
    this.#pendingBytes = 0;
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new SpiderError("OVSDB_PROTOCOL", "a message of the database server is not JSON", {
        details: { start: text.slice(0, 80) },
        cause,
      });
    }
  }
}

function notAnObject(chunk: Buffer, at: number): SpiderError {
  return new SpiderError("OVSDB_PROTOCOL", "the database server sent something other than a JSON object", {
    details: { found: chunk.toString("latin1", at, at + 20) },
  });
}
