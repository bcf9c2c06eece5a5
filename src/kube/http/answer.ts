import { limits } from "../limits.ts";

/** What an answer begins with. */
export interface AnswerHead {
  readonly status: number;
  /** Those of {@link kept} by their names in lower case; of a name that comes twice, the values are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Told what an answer consists of, in this order; nothing more after `ended`. */
export interface AnswerSink {
  began(head: AnswerHead): void;
  /** A view of what was read, valid for as long as it is held. */
  brought(bytes: Uint8Array): void;
  /** `reusable`: the connection is ready for the next request. */
  ended(reusable: boolean): void;
}

/**
 * Reads one answer of HTTP/1.1 (RFC 9112) from the pieces in which it arrives. Strict: what is not exactly an answer, or could be
 * read in two ways, throws an Error that says what was found, and the connection is of no use any more. No answer to CONNECT,
 * no upgrade; trailers are read and dropped.
 */
export class AnswerReader {
  readonly #sink: AnswerSink;
  readonly #isHead: boolean;
  #state: "status" | "headers" | "sized" | "chunk size" | "chunk" | "chunk end" | "trailers" | "open end" | "done" =
    "status";
  /** Bytes of the body, or of its chunk, that are still to come. */
  #left = 0;
  /** The beginning of a line whose end has not arrived. */
  #rest: Buffer | undefined;
  #headBytes = 0;
  #status = 0;
  #headers: Record<string, string> = {};
  #reusable = true;

  /** `method`: what was asked decides whether the answer has a body. */
  constructor(sink: AnswerSink, method: string) {
    this.#sink = sink;
    this.#isHead = method === "HEAD";
  }

  /** The next bytes of the connection. Throws for what is no answer. */
  push(chunk: Buffer): void {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    let at = 0;
    while (at < bytes.length && this.#state !== "done") {
      if (this.#left > 0) {
        const end = Math.min(bytes.length, at + this.#left);
        this.#left -= end - at;
        this.#sink.brought(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
        at = end;
        if (this.#left === 0) this.#state = this.#state === "sized" ? "done" : "chunk end";
      } else {
        const end = bytes.indexOf(lineFeed, at);
        const lineBytes = (end < 0 ? bytes.length : end) - at;
        this.#bound(lineBytes);
        if (end < 0) {
          this.#rest = bytes.subarray(at);
          return;
        }
        this.#headBytes += lineBytes;
        if (bytes[end - 1] !== carriageReturn) throw unreadable("a line that does not end with CR LF", "");
        this.#line(bytes.toString("latin1", at, end - 1));
        at = end + 1;
      }
    }
    // Bytes after the answer make the connection useless: they would be read as part of the next answer.
    if (this.#state === "done") this.#sink.ended(this.#reusable && at === bytes.length);
  }

  /** The server closed the connection: true if that is how the answer ends. */
  close(): boolean {
    if (this.#state !== "open end") return false;
    this.#state = "done";
    this.#sink.ended(false);
    return true;
  }

  #line(line: string): void {
    switch (this.#state) {
      case "status":
        this.#readStatus(line);
        return;
      case "headers":
        if (line === "") this.#endHead();
        else this.#readHeader(line);
        return;
      case "chunk size":
        this.#readChunkSize(line);
        return;
      case "chunk end":
        if (line !== "") throw unreadable("more than its size in a chunk", line);
        this.#state = "chunk size";
        return;
      default: // trailers
        if (line === "") this.#state = "done";
    }
  }

  #readStatus(line: string): void {
    const [, minor, status] = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: |$)/.exec(line) ?? [];
    if (status === undefined) throw unreadable("no status of HTTP/1.1", line);
    this.#status = Number(status);
    this.#headers = {};
    this.#reusable = minor === "1";
    this.#state = "headers";
  }

  #readHeader(line: string): void {
    if (!headerForm.test(line)) throw unreadable("no header", line);
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    if (!kept.has(name)) return;
    const value = line
      .slice(colon + 1)
      .replace(/^[ \t]+/, "")
      .trimEnd();
    const before = this.#headers[name];
    this.#headers[name] = before === undefined ? value : `${before}, ${value}`;
  }

  #endHead(): void {
    if (this.#status === 101) throw unreadable("another protocol", "101");
    if (this.#status < 200) {
      this.#state = "status"; // 100, 103: the answer proper follows
      return;
    }
    const { "content-length": length, "transfer-encoding": encoding, connection } = this.#headers;
    if (connection !== undefined && /(^|,)\s*close\s*(,|$)/i.test(connection)) this.#reusable = false;
    this.#state = this.#framing(length, encoding);
    this.#headBytes = 0;
    this.#sink.began({ status: this.#status, headers: this.#headers });
  }

  /** How the end of the body is known (RFC 9112 §6.3). */
  #framing(length: string | undefined, encoding: string | undefined): "sized" | "chunk size" | "open end" | "done" {
    if (this.#isHead || this.#status === 204 || this.#status === 304) return "done";
    if (encoding !== undefined) {
      if (encoding.toLowerCase() !== "chunked") throw unreadable("another transfer encoding than chunked", encoding);
      if (length !== undefined) throw unreadable("a length and a transfer encoding", length);
      return "chunk size";
    }
    if (length === undefined) {
      this.#left = Number.POSITIVE_INFINITY;
      return "open end";
    }
    if (!/^\d{1,15}$/.test(length)) throw unreadable("no length", length);
    this.#left = Number(length);
    return this.#left === 0 ? "done" : "sized";
  }

  #readChunkSize(line: string): void {
    const [, size] = /^([\dA-Fa-f]{1,12})[ \t]*(?:;|$)/.exec(line) ?? [];
    if (size === undefined) throw unreadable("no size of a chunk", line);
    this.#left = Number.parseInt(size, 16);
    this.#state = this.#left === 0 ? "trailers" : "chunk";
    if (this.#state === "chunk") this.#headBytes = 0;
  }

  /** Head, trailers and the size of a chunk are read into memory before anybody sees them. */
  #bound(lineBytes: number): void {
    if (this.#headBytes + lineBytes > limits.headBytesMax)
      throw unreadable(`more than ${limits.headBytesMax} bytes of head`, "");
  }
}

/**
 * The headers by which something is decided: how the answer ends, what becomes of the connection, when to ask again. An API server
 * sends twice as many, with each answer.
 */
const kept: ReadonlySet<string> = new Set([
  "content-length",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "retry-after",
]);
/** A line of a head (RFC 9112 §5). */
const headerForm = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+:.*$/;

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

function unreadable(found: string, text: string): Error {
  const quoted = text === "" ? "" : `: ${JSON.stringify(text.slice(0, 100))}`;
  return new Error(`the answer cannot be read as HTTP/1.1: ${found}${quoted}`);
}
