import type { Clock, Signal } from "#base";
import { deadline } from "./deadline.ts";
import { ApiUnreachableError, type Attempt, hasReason } from "./errors.ts";
import {
  decodeJson,
  decodeObject,
  decodePage,
  decodeWatchLine,
  isStatus,
  type Page,
  readBytes,
  readText,
  statusError,
  type WatchEvent,
} from "./http/codec.ts";
import { splitLines } from "./http/lines.ts";
import type { ApiRequest, ApiResponse, Transport } from "./http/transport.ts";
import { pods } from "./kinds/core.ts";
import type { ObjectRef, Resource } from "./kinds/resource.ts";
import { apiVersionOf, collectionPath, type Draft, type KubeObject, keyOf, objectPath } from "./kinds/resource.ts";
import { limits } from "./limits.ts";

/** Which objects of a collection. */
export interface Selection {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

/** Which objects, how many of them at once, and how fresh. */
interface ListOptions extends Selection {
  readonly limit?: number | undefined;
  readonly continue?: string | undefined;
  /** "0" allows any cached, possibly stale state; absent demands the newest. */
  readonly resourceVersion?: string | undefined;
}

/** RFC 7386 (`merge`), strategic merge patch of Kubernetes, or RFC 6902 (`json`). */
type Patch =
  | { readonly kind: "merge" | "strategic"; readonly body: Readonly<Record<string, unknown>> }
  | { readonly kind: "json"; readonly operations: readonly JsonPatchOperation[] };

/** One operation of RFC 6902, as far as they are used here. */
export type JsonPatchOperation =
  | { readonly op: "add" | "replace" | "test"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

/** `DeleteOptions` of the API, as far as they are used here. */
interface DeleteOptions {
  /** The server answers 409 `Conflict` if the object has another UID or version. */
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly propagationPolicy?: "Orphan" | "Background" | "Foreground";
  readonly gracePeriodSeconds?: number;
}

/** Which objects, from where in history, and for how long. */
interface WatchOptions extends Selection {
  /**
   * The watch reports changes after this version. Without it, it is a streaming list (KEP-3157): first ADDED for every object,
   * then changes made meanwhile, then a BOOKMARK with `endsList`. Kubernetes before 1.32 refuses that with 422 `Invalid`.
   */
  readonly resourceVersion?: string | undefined;
  /** The server ends the watch after this time. */
  readonly timeoutSeconds: number;
}

/** Which text of a Pod. */
export type PodText =
  | { readonly kind: "log"; readonly container: string; readonly lines: number; readonly previous?: boolean }
  | { readonly kind: "proxy"; readonly port: number; readonly path: `/${string}` };

interface ClientOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  /** @default "spiderpool" */
  readonly userAgent?: string;
  /** See {@link KubeClient.forViews}. @default false */
  readonly isForViews?: boolean;
}

/**
 * Typed calls. All throw {@link ApiStatusError} (the server refused), {@link ApiUnreachableError} (no answer, or none in
 * time: see its `outcome`), `API_ANSWER_INVALID`, or the signal's reason. An aborted mutating call may have taken effect.
 * Mutating calls carry `fieldValidation=Strict` (a field that the server does not know is an error, not lost) and
 * `timeout=14s`. Nothing is retried here: see `retry()`.
 */
export class KubeClient {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /**
   * The same client for what people read and nothing decides by (status, Events): however many of its calls hang, those of
   * other clients do not wait for them.
   */
  forViews(): KubeClient {
    return new KubeClient({ ...this.#options, isForViews: true });
  }

  /** undefined: there is none. A kind that the server does not serve is an error. */
  async get<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    { signal, resourceVersion }: Signal & { readonly resourceVersion?: string | undefined },
  ): Promise<T | undefined> {
    const attempt = { verb: "get", resource: resource.plural, object: keyOf(ref) };
    const path = withQuery(objectPath(resource, ref), { resourceVersion });
    try {
      return await this.#object<T>(attempt, { method: "GET", path, accept: accept(resource) }, signal);
    } catch (error) {
      if (hasReason(error, "NotFound")) return undefined;
      throw error;
    }
  }

  /**
   * One page, or all objects if no limit is given. `trim` drops what the caller does not read of each object as soon as it is
   * decoded.
   */
  async list<T extends KubeObject>(
    resource: Resource<T>,
    o: Signal & ListOptions & { readonly trim?: ((object: T) => T) | undefined },
  ): Promise<Page<T>> {
    const attempt = { verb: "list", resource: resource.plural, object: "" };
    const { labelSelector, fieldSelector, limit, continue: token, resourceVersion } = o;
    const query = { labelSelector, fieldSelector, limit, continue: token, resourceVersion };
    const path = withQuery(collectionPath(resource, o.namespace), query);
    const request = { method: "GET", path, accept: accept(resource, "List"), timeoutMs: limits.listTimeoutMs };
    return decodePage<T>(await this.#read(attempt, request, o.signal), attempt, o.trim ?? ((object) => object));
  }

  /** Every object, page by page, of one moment. */
  async *listAll<T extends KubeObject>(
    resource: Resource<T>,
    o: Signal & Selection,
  ): AsyncGenerator<T, void, undefined> {
    let token: string | undefined;
    do {
      const page: Page<T> = await this.list(resource, { ...o, limit: limits.listPageItems, continue: token });
      yield* page.items;
      token = page.continue;
    } while (token !== undefined);
  }

  /** 409 `AlreadyExists` if the name is taken. */
  async create<T extends KubeObject>(resource: Resource<T>, draft: Draft<T>, { signal }: Signal): Promise<T> {
    const { metadata } = draft;
    const name = "name" in metadata ? metadata.name : `${metadata.generateName}*`;
    const attempt = {
      verb: "create",
      resource: resource.plural,
      object: keyOf({ namespace: metadata.namespace, name }),
    };
    const path = collectionPath(resource, metadata.namespace) + strict;
    const body = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...draft };
    return this.#object<T>(attempt, { method: "POST", path, body, accept: accept(resource) }, signal);
  }

  /** Replaces the object, if it is still of the given resourceVersion: else 409 `Conflict`. */
  async update<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    { signal, subresource }: Signal & { readonly subresource?: "status" },
  ): Promise<T> {
    const attempt = { verb: "update", resource: resource.plural, object: keyOf(object.metadata) };
    const path = objectPath(resource, object.metadata, subresource) + strict;
    const body = { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
    return this.#object<T>(attempt, { method: "PUT", path, body, accept: accept(resource) }, signal);
  }

  async patch<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    patch: Patch,
    { signal, subresource }: Signal & { readonly subresource?: "status" },
  ): Promise<T> {
    const attempt = { verb: "patch", resource: resource.plural, object: keyOf(ref) };
    const path = objectPath(resource, ref, subresource) + strict;
    const body = patch.kind === "json" ? patch.operations : patch.body;
    const request = { method: "PATCH", path, body, contentType: patchTypes[patch.kind], accept: accept(resource) };
    return this.#object<T>(attempt, request, signal);
  }

  /** `deleting`: finalizers or a grace period hold it; `absent`: there was none. */
  async delete(
    resource: Resource<KubeObject>,
    ref: ObjectRef,
    { signal, ...options }: Signal & DeleteOptions,
  ): Promise<"deleted" | "deleting" | "absent"> {
    const attempt = { verb: "delete", resource: resource.plural, object: keyOf(ref) };
    const path = withQuery(objectPath(resource, ref), { timeout: mutationTimeout });
    const body = { apiVersion: "v1", kind: "DeleteOptions", ...options };
    try {
      const answer = await this.#call(attempt, { method: "DELETE", path, body, accept: json }, signal);
      if (isStatus(answer)) return "deleted";
      return decodeObject(answer, attempt).metadata.deletionTimestamp === undefined ? "deleted" : "deleting";
    } catch (error) {
      if (hasReason(error, "NotFound")) return "absent";
      throw error;
    }
  }

  /** POST to a subresource (`binding`, `eviction`, `token`). Returns the server's answer as it is. */
  async post(
    resource: Resource<KubeObject>,
    ref: ObjectRef,
    subresource: string,
    body: object,
    { signal }: Signal,
  ): Promise<unknown> {
    const attempt = { verb: `create ${subresource} of`, resource: resource.plural, object: keyOf(ref) };
    const path = objectPath(resource, ref, subresource) + strict;
    return this.#call(attempt, { method: "POST", path, body, accept: json }, signal);
  }

  /** What a Pod's container has written, or what it answers to a GET through the API server's proxy. */
  async podText(ref: ObjectRef, { of, signal }: Signal & { readonly of: PodText }): Promise<string> {
    const attempt = { verb: `get ${of.kind} of`, resource: pods.plural, object: keyOf(ref) };
    const path =
      of.kind === "log"
        ? withQuery(objectPath(pods, ref, "log"), {
            container: of.container,
            tailLines: of.lines,
            previous: of.previous,
          })
        : `${objectPath(pods, { ...ref, name: `${ref.name}:${of.port}` }, "proxy")}${of.path}`;
    return (await this.#read(attempt, { method: "GET", path, accept: "*/*" }, signal)).toString("utf8");
  }

  /**
   * The events of one watch, bookmarks included, until the server ends it. Throws `API_WATCH_LINE` for a broken line and
   * ApiStatusError for an ERROR event (410 `Expired`: list again). Bounded by the signal only: the reader knows when
   * silence is too long.
   */
  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    o: Signal & WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const attempt = { verb: "watch", resource: resource.plural, object: "" };
    const { labelSelector, fieldSelector, resourceVersion, timeoutSeconds } = o;
    const query = {
      watch: true,
      allowWatchBookmarks: true,
      labelSelector,
      fieldSelector,
      ...(resourceVersion === undefined ? streaming : { resourceVersion }),
      timeoutSeconds,
    };
    const path = withQuery(collectionPath(resource, o.namespace), query);
    const response = await this.#send(attempt, { method: "GET", path, accept: accept(resource) }, o.signal);
    for await (const line of splitLines(response.body, limits.watchLineBytesMax)) {
      yield decodeWatchLine<T>(line, attempt);
    }
  }

  /** One call that is answered with the object. */
  async #object<T extends KubeObject>(attempt: Attempt, call: Call, parent: AbortSignal): Promise<T> {
    return decodeObject<T>(await this.#call(attempt, call, parent), attempt);
  }

  /** One call to its decoded end. */
  async #call(attempt: Attempt, call: Call, parent: AbortSignal): Promise<unknown> {
    return decodeJson((await this.#read(attempt, call, parent)).toString("utf8"), attempt);
  }

  /** One call to its end, bounded by the signal and by its own time. */
  async #read(attempt: Attempt, call: Call, parent: AbortSignal): Promise<Buffer> {
    parent.throwIfAborted();
    const ms = call.timeoutMs ?? limits.callTimeoutMs;
    let late: Error | undefined;
    using limit = deadline(this.#options.clock, parent, ms, () => {
      late = new Error(`no answer within ${ms} ms`);
      return late;
    });
    try {
      const response = await this.#send(attempt, call, limit.signal);
      return await readBytes(response.body, limits.bodyBytesMax);
    } catch (error) {
      if (late === undefined || error !== late) throw error;
      throw new ApiUnreachableError({ server: this.#options.transport.server, ...call }, { sent: true, cause: late });
    }
  }

  /** The answer's head. Anything but 2xx is thrown. */
  async #send(attempt: Attempt, call: Call, signal: AbortSignal): Promise<ApiResponse> {
    const response = await this.#options.transport.send(this.#encode(call), { signal });
    if (response.status >= 200 && response.status < 300) return response;
    const text = await readText(response.body, limits.errorBodyBytesMax).catch(() => "");
    const seconds = Number(response.headers["retry-after"]);
    throw statusError(parseOrText(text), {
      attempt,
      status: response.status,
      retryAfterMs: seconds > 0 ? seconds * 1000 : undefined,
    });
  }

  #encode({ method, path, body, accept, contentType }: Call): ApiRequest {
    const { userAgent = "spiderpool", isForViews = false } = this.#options;
    const headers = { accept, "user-agent": userAgent };
    const request = { method, path, ...(isForViews && { isView: true }) };
    if (body === undefined) return { ...request, headers };
    return {
      ...request,
      headers: { ...headers, "content-type": contentType ?? json },
      body: Buffer.from(JSON.stringify(body)),
    };
  }
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly accept: string;
  readonly body?: object;
  readonly contentType?: string;
  readonly timeoutMs?: number;
}

const json = "application/json";
const mutationTimeout = `${limits.mutationTimeoutS}s`;
const strict = `?fieldValidation=Strict&timeout=${mutationTimeout}`;
const streaming = { sendInitialEvents: true, resourceVersionMatch: "NotOlderThan" };
const patchTypes = {
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  json: "application/json-patch+json",
};

function accept(resource: Resource<KubeObject>, list: "List" | "" = ""): string {
  return resource.metadataOnly === true ? `${json};as=PartialObjectMetadata${list};g=meta.k8s.io;v=v1` : json;
}

function withQuery(path: string, query: Readonly<Record<string, string | number | boolean | undefined>>): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) params.set(key, String(value));
  return params.size === 0 ? path : `${path}?${params}`;
}

function parseOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
