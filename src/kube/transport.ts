import { type Clock, type Signal, SpiderError } from "#base";
import type { KubeConfig } from "./config.ts";

/** One HTTP request; the lab and the tests implement the same messages in process. */
export interface ApiRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

export interface ApiResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** To be read to its end or left by `break`/`return`; open-ended for a watch. */
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Sends one request. Rejects with {@link ApiUnreachableError} where no answer came, and with the signal's reason where
 * it aborted first; so does the body. Any status is an answer.
 *
 * Node hands a request to the socket only on the next turn of the event loop: who blocks the thread right after
 * `send` (netlink) must yield one `setImmediate` first, or nothing is on its way meanwhile.
 */
export interface Transport {
  /** For errors and logs: `https://10.96.0.1:443`. */
  readonly server: string;
  send(request: ApiRequest, o: Signal): Promise<ApiResponse>;
}

/** A transport over node:http(s) with kept-alive connections and credentials that are re-read when their files change. */
export function createTransport(_config: KubeConfig, _options: { readonly clock: Clock }): Transport & Disposable {
  throw new SpiderError("NOT_YET", "not yet");
}
