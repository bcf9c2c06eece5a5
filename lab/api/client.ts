import { Agent, request as httpRequest } from "node:http";
import { Readable } from "node:stream";
import { text as textOf } from "node:stream/consumers";
import { type Clock, never, SpiderError, systemClock } from "#base";
import type { LabApi } from "./server.ts";
import {
  type ApiRequest,
  type ApiResponse,
  type Fields,
  type KubeObject,
  textAt,
  type WatchEventType,
} from "./types.ts";

/** The name of an object. `namespace` is absent for cluster-scoped kinds. */
interface ObjectRef {
  readonly name: string;
  readonly namespace?: string;
}

/** Which objects of a kind, by the API's own selectors. */
interface ListOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** Which objects to watch, and for how long. */
interface WatchOptions extends ListOptions {
  /** Ends the watch. */
  readonly signal: AbortSignal;
}

interface Watch {
  /** Settles when everything that existed at the start has been reported as ADDED. */
  readonly synced: Promise<void>;
  /** Settles when the watch has ended: its signal aborted. Rejects when `onEvent` threw. */
  readonly done: Promise<void>;
}

/**
 * A small client for the lab's own parts. `resource` is `"v1/pods"` or `"apps/v1/deployments"`. `T` is the type that the caller
 * expects, for example one of `kubernetes-types`; it is not checked.
 * Failed calls throw SpiderError LAB_API with `details: {status, reason, method, path}`; see {@link isStatus}.
 */
export interface LabClient {
  /** Undefined if it does not exist. */
  get<T extends object = KubeObject>(resource: string, ref: ObjectRef): Promise<T | undefined>;
  list<T extends object = KubeObject>(resource: string, options?: ListOptions): Promise<readonly T[]>;
  /** Creates an object in the namespace of its metadata. */
  create<T extends object = KubeObject>(resource: string, object: object): Promise<T>;
  /** Patches an object: by a JSON patch if the patch is a list, otherwise by a merge patch. */
  patch<T extends object = KubeObject>(
    resource: string,
    ref: ObjectRef,
    patch: object,
    options?: { readonly subresource?: string },
  ): Promise<T>;
  /** Deletes an object; false if there was none. With `gracePeriodSeconds: 0` the kubelet says that a Pod has ended. */
  delete(
    resource: string,
    ref: ObjectRef,
    options?: {
      readonly uid?: string;
      readonly resourceVersion?: string;
      readonly gracePeriodSeconds?: number;
      readonly propagationPolicy?: "Orphan";
    },
  ): Promise<boolean>;
  /** Posts to a subresource that is an action, such as `binding` of Pods. */
  act(resource: string, ref: ObjectRef, subresource: string, body: object): Promise<void>;
  /**
   * Reports every change from now on, after an ADDED for each object that exists. Reconnects by itself and then reports
   * what changed, appeared and vanished meanwhile. Events are delivered one after the other: `onEvent` is awaited.
   */
  watch<T extends object = KubeObject>(
    resource: string,
    options: WatchOptions,
    onEvent: (event: { readonly type: WatchEventType; readonly object: T }) => void | Promise<void>,
  ): Watch;
}

/** True if a call failed with this HTTP status. */
export function isStatus(error: unknown, status: number): boolean {
  return error instanceof SpiderError && error.code === "LAB_API" && error.details["status"] === status;
}

type Send = (request: ApiRequest, signal: AbortSignal) => Promise<ApiResponse>;

const retryMs = 500;

interface LabClientOptions {
  readonly clock?: Clock;
  /** How long a call waits for its answer. After that it fails, and its connection is closed. @default no limit */
  readonly callMsMax?: number;
}

/** A client over HTTP, or straight into a server of this process. */
export function createLabClient(
  target: { readonly baseUrl: string } | { readonly api: LabApi },
  options: LabClientOptions = {},
): LabClient {
  const send: Send =
    "api" in target ? (request, signal) => target.api.handle(request, { signal }) : overHttp(target.baseUrl);
  const { clock = systemClock, callMsMax } = options;

  async function call<T>(method: string, path: string, body?: object, type = "application/json"): Promise<T> {
    const content = body === undefined ? {} : { body: new TextEncoder().encode(JSON.stringify(body)) };
    const signal = callMsMax === undefined ? never : AbortSignal.timeout(callMsMax);
    const response = await send({ method, path, headers: { "content-type": type }, ...content }, signal);
    return JSON.parse(await checked(response, method, path)) as T;
  }
  return {
    get: (resource, ref) => orMissing(call("GET", pathOf(resource, ref)), undefined),
    list: async <T>(resource: string, where: ListOptions = {}) =>
      (await call<{ readonly items: readonly T[] }>("GET", listPath(resource, where))).items,
    create: (resource, object) => {
      const namespace = textAt(object, "metadata", "namespace");
      return call("POST", listPath(resource, namespace === "" ? {} : { namespace }), object);
    },
    patch: (resource, ref, patch, { subresource } = {}) => {
      const type = Array.isArray(patch) ? "application/json-patch+json" : "application/merge-patch+json";
      return call("PATCH", pathOf(resource, ref, subresource), patch, type);
    },
    delete: (resource, ref, { gracePeriodSeconds, propagationPolicy, ...preconditions } = {}) => {
      const how = {
        ...(gracePeriodSeconds !== undefined && { gracePeriodSeconds }),
        ...(propagationPolicy !== undefined && { propagationPolicy }),
      };
      const body = { kind: "DeleteOptions", apiVersion: "v1", preconditions, ...how };
      const deleted = call("DELETE", pathOf(resource, ref), body).then(() => true);
      return orMissing(deleted, false);
    },
    act: (resource, ref, subresource, body) => call("POST", pathOf(resource, ref, subresource), body),
    watch: <T extends object>(resource: string, where: WatchOptions, onEvent: OnEvent<T>) => {
      const synced = Promise.withResolvers<void>();
      const follower = new Follower<T>({ send, clock, resource, where, onEvent, onSynced: synced.resolve });
      const done = follower.run().finally(() => synced.resolve());
      return { synced: synced.promise, done };
    },
  };
}

type OnEvent<T> = (event: { readonly type: WatchEventType; readonly object: T }) => void | Promise<void>;

interface FollowerParts<T> {
  readonly send: Send;
  readonly clock: Clock;
  readonly resource: string;
  readonly where: WatchOptions;
  readonly onEvent: OnEvent<T>;
  readonly onSynced: () => void;
}

/** One watch: reports how the state differs from the known one, then every change. Begins again when it breaks off. */
class Follower<T extends object> {
  readonly #parts: FollowerParts<T>;
  readonly #known = new Map<string, T>();
  /** The error that the caller's listener threw. */
  #failure: { readonly error: unknown } | undefined;

  constructor(parts: FollowerParts<T>) {
    this.#parts = parts;
  }

  async run(): Promise<void> {
    const { clock, where } = this.#parts;
    while (!where.signal.aborted) {
      await this.#follow().catch(() => undefined); // a lost connection is what the next turn is for
      if (this.#failure !== undefined) throw this.#failure.error;
      await clock.sleep(retryMs, { signal: where.signal }).catch(() => undefined);
    }
  }

  async #follow(): Promise<void> {
    const { send, resource, where, onSynced } = this.#parts;
    const path = listPath(resource, where, { watch: "true", allowWatchBookmarks: "true", sendInitialEvents: "true" });
    const response = await send({ method: "GET", path, headers: {} }, where.signal);
    if (response.status !== 200) throw new Error(await checked(response, "GET", path));
    let initial: T[] | undefined = [];
    for await (const line of linesOf(response.body)) {
      if (where.signal.aborted) return;
      const { type, object } = JSON.parse(line) as { type: WatchEventType | "BOOKMARK"; object: T };
      if (initial === undefined) {
        if (type !== "BOOKMARK") await this.#report(type, object);
      } else if (type === "BOOKMARK") {
        await this.#compare(initial); // the first bookmark marks the end of what exists
        initial = undefined;
        onSynced();
      } else initial.push(object);
    }
  }

  /** Reports how the state differs from the known one. An object may have been replaced by another of its name. */
  async #compare(present: readonly T[]): Promise<void> {
    const uids = new Set(present.map(uidOf));
    for (const [uid, object] of this.#known) if (!uids.has(uid)) await this.#report("DELETED", object);
    for (const object of present) {
      const known = this.#known.get(uidOf(object));
      if (known === undefined) await this.#report("ADDED", object);
      else if (versionOf(known) !== versionOf(object)) await this.#report("MODIFIED", object);
    }
  }

  async #report(type: WatchEventType, object: T): Promise<void> {
    if (type === "DELETED") this.#known.delete(uidOf(object));
    else this.#known.set(uidOf(object), object);
    try {
      await this.#parts.onEvent({ type, object });
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }
}

const uidOf = (object: object) => textAt(object, "metadata", "uid");
const versionOf = (object: object) => textAt(object, "metadata", "resourceVersion");

function listPath(resource: string, where: ListOptions, query: Readonly<Record<string, string>> = {}): string {
  const [, apiVersion = "", plural = ""] = /^(.+)\/([^/]+)$/.exec(resource) ?? [];
  const root = apiVersion.includes("/") ? "apis" : "api";
  const scope = where.namespace === undefined ? "" : `namespaces/${where.namespace}/`;
  const { labelSelector, fieldSelector } = where;
  const all = { ...query, ...(labelSelector && { labelSelector }), ...(fieldSelector && { fieldSelector }) };
  const search = Object.keys(all).length === 0 ? "" : `?${new URLSearchParams(all)}`;
  return `/${root}/${apiVersion}/${scope}${plural}${search}`;
}

function pathOf(resource: string, { name, namespace }: ObjectRef, subresource?: string): string {
  const base = listPath(resource, namespace === undefined ? {} : { namespace });
  return `${base}/${name}${subresource === undefined ? "" : `/${subresource}`}`;
}

/** Returns the body of a successful answer. Otherwise throws LAB_API with the message of the Status. */
async function checked(response: ApiResponse, method: string, path: string): Promise<string> {
  const text = await textOf(Readable.from(response.body));
  if (response.status < 400) return text;
  const status: Fields = text.startsWith("{") ? JSON.parse(text) : { message: text };
  const details = { status: response.status, reason: status["reason"], method, path };
  throw new SpiderError("LAB_API", String(status["message"]), { details });
}

async function orMissing<T>(promise: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (isStatus(error, 404)) return otherwise;
    throw error;
  }
}

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
  if (rest !== "") yield rest;
}

function overHttp(baseUrl: string): Send {
  const agent = new Agent({ keepAlive: true });
  return ({ method, path, headers, body }, signal) =>
    new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { "content-length": body.length };
      const url = new URL(path, baseUrl);
      const request = httpRequest(url, { method, headers: { ...headers, ...length }, agent, signal }, (response) =>
        resolve({ status: response.statusCode ?? 0, headers: {}, body: response }),
      );
      request.on("error", reject);
      request.end(body);
    });
}
