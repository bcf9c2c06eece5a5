import { type Clock, type Logger, SpiderError } from "#base";
import type { Listener, ListenOptions } from "./listen.ts";
import type { ApiRequest, ApiResponse } from "./types.ts";

/** How the API server reaches a node's kubelet for logs and exec. */
export type KubeletAddress = { readonly host: string; readonly port: number } | { readonly socketPath: string };

export interface LabApiOptions {
  /** Texts of CustomResourceDefinitions (each may hold several documents) that exist from the start. */
  readonly crds?: readonly string[];
  /** @default the system's clock */
  readonly clock?: Clock;
  readonly log?: Logger;
  /** Where a node's kubelet listens. @default port 10250 of the Node's InternalIP */
  readonly kubelet?: (nodeName: string) => KubeletAddress | undefined;
}

export interface LabApi {
  /** Answers one call; never throws for a bad call. A watch's body ends when `signal` aborts or the server closes. */
  handle(request: ApiRequest, options?: { readonly signal?: AbortSignal }): Promise<ApiResponse>;
  /** Opens one more door; rejects with the system's error (EADDRINUSE). */
  listen(options?: ListenOptions): Promise<Listener>;
  /** Ends all watches and closes all listeners. */
  close(): Promise<void>;
}

/** Builds a server with the namespaces `default`, `kube-node-lease`, `kube-public`, `kube-system`. Throws SpiderError LAB_BAD_CRD. */
export function createApiServer(_options: LabApiOptions = {}): LabApi {
  throw new SpiderError("NOT_YET", "not written yet");
}
