/**
 * The protocol between shim and agent on the agent's unix stream socket. The shim sends one `call`. The agent answers with
 * any number of `exec` (run this plugin as your child), and the shim answers each with `output`. Finally the agent sends
 * `result`. The shim is written in C and parses no JSON; that is why the format is binary:
 *
 *   frame: "SPC" | version u8 | kind u8 | three zero bytes | body length u32          (12 bytes, big-endian) | body
 *   body:  fields, each  tag u8 | length u32 | bytes
 *
 * The decoder refuses unknown kinds and tags, and missing or repeated fields: both ends are installed together.
 */
import { SpiderError } from "#base";
import type { PluginOutput, RawCall } from "./call.ts";
import { frameBytesMax, frameVariablesMax } from "./limits.ts";

const frameVersion = 1;
const magic = Buffer.from("SPC");
const headerBytes = 12;
/** A field's tag and length. */
const fieldHeaderBytes = 5;

/** From the shim: the runtime executed it. */
interface CallFrame extends RawCall {
  readonly kind: "call";
}

/**
 * From the shim: how the plugin that it ran ended. If the plugin could not be executed, `exitCode` is 127 and stderr says
 * why; it is {@link noSuchPlugin} if no directory has a file of that name.
 */
interface OutputFrame extends PluginOutput {
  readonly kind: "output";
}

/** To the shim: print this and exit. */
interface ResultFrame {
  readonly kind: "result";
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

/**
 * To the shim: run this plugin. The shim finds it in the runtime's file system, which the agent may not see. The plugin gets
 * the shim's environment with `env` on top; an empty value hides a variable of the shim. After `timeoutMs` its process group
 * is killed (signal 9). The shim keeps 4 MiB of its stdout and 64 KiB of its stderr, and tries again while the plugin's file
 * is being replaced.
 */
export interface ExecFrame {
  readonly kind: "exec";
  /** Directories, separated by `:`. The first one with a regular file `argv0` is used. */
  readonly path: string;
  readonly argv0: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: Uint8Array;
  readonly timeoutMs: number;
}

/** What the shim writes to stderr if no directory has the plugin. */
export const noSuchPlugin = "no such plugin";

/** One message between shim and agent; `kind` is its type on the wire. */
export type Frame = CallFrame | ResultFrame | ExecFrame | OutputFrame;

const kinds = { call: 1, result: 2, exec: 3, output: 4 } as const;
const tags = {
  argv0: 1,
  env: 2,
  stdin: 3,
  exitCode: 4,
  stdout: 5,
  stderr: 6,
  path: 7,
  timeoutMs: 8,
  signal: 9,
} as const;
type Tag = keyof typeof tags;
type Field = readonly [Tag, string | number | Uint8Array];

/** The bytes of a frame. Throws SpiderError FRAME_TOO_LARGE if its body would exceed `frameBytesMax`. */
export function encodeFrame(frame: Frame): Uint8Array {
  const fields = fieldsOf(frame).map(([tag, value]) => [tag, bytesOf(value)] as const);
  const bodyBytes = fields.reduce((sum, [, { length }]) => sum + fieldHeaderBytes + length, 0);
  if (bodyBytes > frameBytesMax) {
    throw new SpiderError("FRAME_TOO_LARGE", "a frame between shim and agent is too large", {
      details: { kind: frame.kind, bytes: bodyBytes, allowed: frameBytesMax },
    });
  }
  const bytes = Buffer.alloc(headerBytes + bodyBytes);
  magic.copy(bytes);
  bytes[3] = frameVersion;
  bytes[4] = kinds[frame.kind];
  bytes.writeUInt32BE(bodyBytes, 8);
  let at = headerBytes;
  for (const [tag, value] of fields) {
    bytes[at] = tags[tag];
    bytes.writeUInt32BE(value.length, at + 1);
    bytes.set(value, at + fieldHeaderBytes);
    at += fieldHeaderBytes + value.length;
  }
  return bytes;
}

function fieldsOf(frame: Frame): readonly Field[] {
  switch (frame.kind) {
    case "call":
      return [["argv0", frame.executable], ...variables(frame.env), ["stdin", frame.stdin]];
    case "exec":
      return [
        ["path", frame.path],
        ["argv0", frame.argv0],
        ["timeoutMs", frame.timeoutMs],
        ...variables(frame.env),
        ["stdin", frame.stdin],
      ];
    case "result":
      return [
        ["exitCode", frame.exitCode],
        ["stdout", frame.stdout],
        ["stderr", frame.stderr],
      ];
    case "output":
      return [
        ...(frame.exitCode === undefined ? [] : [["exitCode", frame.exitCode] as const]),
        ...(frame.signal === undefined ? [] : [["signal", frame.signal] as const]),
        ["stdout", frame.stdout],
        ["stderr", frame.stderr],
      ];
  }
}

function variables(env: Readonly<Record<string, string | undefined>>): readonly Field[] {
  return Object.entries(env).flatMap(([name, value]) =>
    value === undefined ? [] : [["env", `${name}=${value}`] as const],
  );
}

function bytesOf(value: Field[1]): Uint8Array {
  return typeof value === "number" ? u32(value) : typeof value === "string" ? Buffer.from(value) : value;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Cuts a byte stream into frames. It holds at most one unfinished frame, and never more bytes than have arrived. */
export class FrameReader {
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #needed = headerBytes;

  /** Returns the frames that `chunk` completes. Throws SpiderError FRAME_INVALID; the stream is unusable after that. */
  push(chunk: Uint8Array): readonly Frame[] {
    const frames: Frame[] = [];
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    while (this.#bytes >= this.#needed) {
      const bytes = Buffer.concat(this.#chunks);
      this.#needed = headerBytes;
      if (bytes.length >= headerBytes) this.#needed += bodyLength(bytes);
      const rest = bytes.length >= this.#needed ? bytes.subarray(this.#needed) : bytes;
      if (rest !== bytes) {
        frames.push(decodeFrame(bytes.subarray(0, this.#needed)));
        this.#needed = headerBytes;
      }
      this.#chunks = rest.length === 0 ? [] : [rest];
      this.#bytes = rest.length;
    }
    return frames;
  }

  /** Bytes of an unfinished frame. If it is not 0 at the end of the stream, the other side was cut off. */
  get pendingBytes(): number {
    return this.#bytes;
  }
}

function bodyLength(bytes: Buffer): number {
  if (!bytes.subarray(0, 3).equals(magic)) invalid(0, "not a frame of shim and agent");
  if (bytes[3] !== frameVersion) invalid(3, `version ${bytes[3]}, expected ${frameVersion}`);
  const length = bytes.readUInt32BE(8);
  if (length > frameBytesMax) invalid(8, `body of ${length} bytes, allowed are ${frameBytesMax}`);
  return length;
}

/** Decodes exactly one frame. Throws SpiderError FRAME_INVALID with the offset and what is wrong there. */
export function decodeFrame(frame: Uint8Array): Frame {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  if (bytes.length < headerBytes) invalid(bytes.length, "header is cut off");
  const length = bodyLength(bytes);
  if (bytes.length !== headerBytes + length) invalid(bytes.length, `body of ${length} bytes expected`);
  const fields = new Fields(bytes);
  switch (bytes[4]) {
    case kinds.call:
      return fields.done({
        kind: "call",
        executable: fields.text("argv0"),
        env: fields.env(),
        stdin: fields.bytes("stdin"),
      });
    case kinds.exec:
      return fields.done({
        kind: "exec",
        path: fields.text("path"),
        argv0: fields.text("argv0"),
        timeoutMs: fields.number("timeoutMs"),
        env: fields.env(),
        stdin: fields.bytes("stdin"),
      });
    case kinds.result:
      return fields.done({ kind: "result", exitCode: fields.number("exitCode"), ...fields.streams() });
    case kinds.output: {
      const end = fields.has("signal") ? { signal: fields.number("signal") } : { exitCode: fields.number("exitCode") };
      return fields.done({ kind: "output", ...end, ...fields.streams() });
    }
    default:
      return invalid(4, `unknown kind ${bytes[4]}`);
  }
}

/** The fields of one body. Reading a field removes it, so that `done` finds those that nobody expected. */
class Fields {
  readonly #single = new Map<number, Buffer>();
  readonly #env: Record<string, string> = {};

  constructor(frame: Buffer) {
    let variableCount = 0;
    for (let at = headerBytes; at < frame.length; ) {
      const start = at;
      if (frame.length - at < fieldHeaderBytes) invalid(at, "field is cut off");
      const tag = frame.readUInt8(at);
      const length = frame.readUInt32BE(at + 1);
      at += fieldHeaderBytes;
      if (length > frame.length - at) invalid(start, `field of ${length} bytes, left are ${frame.length - at}`);
      const end = at + length;
      if (tag === tags.env) {
        if (++variableCount > frameVariablesMax) invalid(start, `more than ${frameVariablesMax} variables`);
        this.#addVariable(frame.toString("utf8", at, end), start);
      } else if (this.#single.has(tag)) invalid(start, `repeated field ${tag}`);
      else this.#single.set(tag, frame.subarray(at, end));
      at = end;
    }
  }

  #addVariable(pair: string, offset: number): void {
    const equals = pair.indexOf("=");
    if (equals <= 0) invalid(offset, "variable without a name");
    this.#env[pair.slice(0, equals)] = pair.slice(equals + 1);
  }

  has(tag: Tag): boolean {
    return this.#single.has(tags[tag]);
  }

  env(): Readonly<Record<string, string>> {
    return this.#env;
  }

  bytes(tag: Tag): Buffer {
    const found = this.#single.get(tags[tag]);
    if (found === undefined) invalid(headerBytes, `missing field ${tag}`);
    this.#single.delete(tags[tag]);
    return found;
  }

  text(tag: Tag): string {
    return this.bytes(tag).toString();
  }

  number(tag: Tag): number {
    const bytes = this.bytes(tag);
    if (bytes.length !== 4) invalid(headerBytes, `field ${tag} of ${bytes.length} bytes, expected 4`);
    return bytes.readUInt32BE();
  }

  streams(): { readonly stdout: Buffer; readonly stderr: Buffer } {
    return { stdout: this.bytes("stdout"), stderr: this.bytes("stderr") };
  }

  /** Returns `frame`; refuses a body with fields that were not read. */
  done<T extends Frame>(frame: T): T {
    const [left] = this.#single.keys();
    if (left !== undefined) invalid(headerBytes, `unexpected field ${left}`);
    return frame;
  }
}

function invalid(offset: number, what: string): never {
  throw new SpiderError("FRAME_INVALID", "malformed frame between shim and agent", { details: { offset, what } });
}
