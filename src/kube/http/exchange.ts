import { limits } from "../limits.ts";
import type { AnswerHead, AnswerSink } from "./answer.ts";

/** What carries an exchange. */
export interface Carrier {
  /** Stops and resumes reading, so that a slow reader of a body does not fill the memory. */
  pause(): void;
  resume(): void;
  /** Ends the connection so that nothing of the request can arrive any more. */
  abandon(): void;
}

/** The head of an answer and its body. */
interface Answer extends AnswerHead {
  readonly body: AsyncIterable<Uint8Array>;
}

interface ExchangeOptions {
  readonly method: string;
  /** The request as it goes out, head and body. */
  readonly bytes: Uint8Array;
  readonly signal: AbortSignal;
  /** The error of a failed exchange; `sent`: bytes of it have been given to a connection that stands. */
  readonly failure: (sent: boolean, cause: unknown) => unknown;
}

/** One request and its answer, whatever connection carries it. It ends once: with its answer, its failure or its signal. */
export class Exchange implements AnswerSink {
  readonly method: string;
  readonly bytes: Uint8Array;
  /** Rejects with the failure, or with the signal's reason if it aborted first. */
  readonly answer: Promise<Answer>;
  readonly #options: ExchangeOptions;
  readonly #head: PromiseWithResolvers<Answer> = Promise.withResolvers();
  readonly #onAbort = () => this.#giveUp(this.#options.signal.reason);
  #carrier: Carrier | undefined;
  #sent = false;
  #body: Body | undefined;
  #isOver = false;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.method = options.method;
    this.bytes = options.bytes;
    this.answer = this.#head.promise;
    options.signal.addEventListener("abort", this.#onAbort);
  }

  /** True after it ended in any way: nobody waits for it any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** From now on its end is this connection's. */
  carriedBy(carrier: Carrier): void {
    this.#carrier = carrier;
  }

  /** The request is being sent: what happens afterwards leaves open whether it took effect. */
  sending(): void {
    this.#sent = true;
  }

  began(head: AnswerHead): void {
    this.#body = new Body({
      pause: () => this.#carrier?.pause(),
      resume: () => this.#carrier?.resume(),
      left: () => this.#giveUp(undefined),
    });
    this.#head.resolve({ ...head, body: this.#body });
  }

  brought(bytes: Uint8Array): void {
    this.#body?.push(bytes);
  }

  ended(): void {
    if (this.#settle()) this.#body?.end();
  }

  /** The connection failed or ended before the answer did. */
  failed(cause: unknown): void {
    if (this.#settle()) this.#fail(this.#options.failure(this.#sent, cause));
  }

  #giveUp(reason: unknown): void {
    if (!this.#settle()) return;
    this.#body?.drop();
    this.#fail(reason);
    this.#carrier?.abandon();
  }

  #fail(error: unknown): void {
    if (this.#body === undefined) this.#head.reject(error);
    else this.#body.fail(error);
  }

  #settle(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    return true;
  }
}

/** The bytes of a body between the connection and the one who reads it. To be read once. */
class Body implements AsyncIterableIterator<Uint8Array, undefined, undefined> {
  readonly #flow: { pause(): void; resume(): void; left(): void };
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #isPaused = false;
  #end: { readonly error?: unknown } | undefined;
  #reader: PromiseWithResolvers<IteratorResult<Uint8Array, undefined>> | undefined;

  constructor(flow: { pause(): void; resume(): void; left(): void }) {
    this.#flow = flow;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  push(chunk: Uint8Array): void {
    if (this.#reader !== undefined) {
      this.#wake().resolve({ done: false, value: chunk });
      return;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#isPaused || this.#bytes < limits.bodyBytesAhead) return;
    this.#isPaused = true;
    this.#flow.pause();
  }

  end(): void {
    this.#end = {};
    if (this.#reader !== undefined) this.#wake().resolve({ done: true, value: undefined });
  }

  /** Who gave the exchange up wants to hear nothing more of it. */
  drop(): void {
    this.#chunks = [];
  }

  /** What was read before is still told. */
  fail(error: unknown): void {
    this.#end = { error };
    if (this.#reader === undefined) return;
    this.#end = {};
    this.#wake().reject(error);
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#bytes -= chunk.length;
      if (this.#isPaused && this.#chunks.length === 0) {
        this.#isPaused = false;
        this.#flow.resume();
      }
      return Promise.resolve({ done: false, value: chunk });
    }
    if (this.#end === undefined) {
      this.#reader = Promise.withResolvers();
      return this.#reader.promise;
    }
    const ended = this.#end;
    this.#end = {};
    return "error" in ended ? Promise.reject(ended.error) : Promise.resolve({ done: true, value: undefined });
  }

  /** Left by the one who reads: nobody wants the rest. */
  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#flow.left();
    this.#chunks = [];
    this.#end = {};
    return Promise.resolve({ done: true, value: undefined });
  }

  #wake(): PromiseWithResolvers<IteratorResult<Uint8Array, undefined>> {
    const reader = this.#reader as PromiseWithResolvers<IteratorResult<Uint8Array, undefined>>;
    this.#reader = undefined;
    return reader;
  }
}
