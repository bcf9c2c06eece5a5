import { applyPatch } from "rfc6902";
import { abortable, assertNever, type Clock, never, type Signal, systemClock } from "#base";
import { ApiUnreachableError } from "../errors.ts";
import type { ApiRequest, ApiResponse, Transport } from "../http/transport.ts";
import {
  apiVersionOf,
  collectionPath,
  type KubeObject,
  keyOf,
  type ObjectRef,
  type Resource,
} from "../kinds/resource.ts";
import { type Commit, FakeRefusal, FakeStorage, type StoredMeta, type StoredObject } from "./fake-storage.ts";
import { FakeWatch } from "./fake-watch.ts";
import { parseTarget, selection, type Target } from "./target.ts";

/** What happens to one request instead of the ordinary. */
export type Fault =
  /** The connection is refused: nothing reaches the server. */
  | { readonly kind: "not-sent" }
  /** The connection breaks before the server acts; the client cannot know that. */
  | { readonly kind: "lost-before" }
  /** The server acts, the answer is lost. */
  | { readonly kind: "lost-after" }
  | { readonly kind: "status"; readonly status: number; readonly reason: string; readonly retryAfterS?: number }
  /** Acts at once, answers after `ms` of the clock. */
  | { readonly kind: "late-answer"; readonly ms: number }
  /** Acts, and answers, after `ms` of the clock, even if the client has gone meanwhile. */
  | { readonly kind: "late-commit"; readonly ms: number; readonly isLost?: true }
  /** Never acts and never answers. */
  | { readonly kind: "hang" };

interface FakeApiOptions {
  /** For timestamps and for late faults. @default systemClock */
  readonly clock?: Clock;
  /** Plurals of kinds whose status is written with the object. All others have a status subresource. */
  readonly withoutStatusSubresource?: readonly string[];
  /** Refuses streaming lists, as servers before Kubernetes 1.32 do. */
  readonly withoutStreams?: boolean;
}

/**
 * An API server in memory, as a Transport: `new KubeClient({ transport: new FakeApi(), clock })`.
 *
 * It knows any group, version and plural without being told; names are unique, versions come from one counter, writes
 * with an old resourceVersion or wrong preconditions get 409, finalizers hold, status is a subresource, lists come in
 * pages of one moment, watches replay, filter, and get 410 after `compact()`. It does not validate, default, authorize,
 * run admission, expire, or cascade deletions; grace periods are zero.
 *
 * Faults: `fail(match, fault)` for the next matching requests, `faults` for every one (chaos); `cutWatches()`, `deafenWatches()`,
 * `sendBadLine()`, `compact()`, `bookmark()`, `pauseWatches()`/`resumeWatches()` (a lagging cache).
 *
 * Tests look and change behind everyone's back with `apply`, `read`, `all`, `remove`; `requests` is the log of what came in.
 */
export class FakeApi implements Transport {
  readonly server = "http://fake-api";
  /** Asked for each request that no `fail` took. */
  faults: (request: ApiRequest) => Fault | undefined = () => undefined;
  /** Every request so far. */
  readonly requests: ApiRequest[] = [];
  readonly #clock: Clock;
  readonly #storage: FakeStorage;
  readonly #watches = new Set<FakeWatch>();
  readonly #wholeKinds: ReadonlySet<string>;
  readonly #streams: boolean;
  readonly #snapshots = new Map<string, readonly StoredObject[]>();
  #planned: { readonly match: (request: ApiRequest) => boolean; readonly fault: Fault; times: number }[] = [];
  #paused = false;
  #names = 0;

  constructor(options: FakeApiOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#wholeKinds = new Set(options.withoutStatusSubresource ?? []);
    this.#streams = options.withoutStreams !== true;
    this.#storage = new FakeStorage({
      now: () => this.#clock.wall(),
      onCommit: (commit) => {
        for (const watch of this.#watches) watch.offer(commit, this.#paused);
      },
    });
  }

  // ── for tests ──

  /** The next `times` requests that match fail so. */
  fail(match: (request: ApiRequest) => boolean, fault: Fault, times = 1): void {
    this.#planned.push({ match, fault, times });
  }

  /** Creates the object or replaces all of it, status included, whatever its version. */
  apply<T extends KubeObject>(
    resource: Resource<T>,
    object: T | (Readonly<Record<string, unknown>> & { readonly metadata: object }),
  ): T {
    const metadata = object.metadata as StoredMeta;
    const { collection, key } = this.#locate(resource, metadata);
    const body = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object };
    const before = this.#storage.get(collection, key);
    const after =
      before === undefined
        ? this.#storage.create(collection, key, body, metadata)
        : this.#storage.replace(collection, key, before, { ...body, metadata } as StoredObject);
    return after as unknown as T;
  }

  read<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef): T | undefined {
    const { collection, key } = this.#locate(resource, ref);
    return this.#storage.get(collection, key) as unknown as T | undefined;
  }

  all<T extends KubeObject>(resource: Resource<T>): readonly T[] {
    return this.#storage.list(collectionPath(resource)) as unknown as readonly T[];
  }

  /** Removes the object at once, finalizers or not. */
  remove<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef): void {
    const { collection, key } = this.#locate(resource, ref);
    const before = this.#storage.get(collection, key);
    if (before !== undefined) this.#storage.remove(collection, key, before);
  }

  /** Every commit since the last compaction: what a test checks legal transitions against. */
  get history(): readonly Commit[] {
    return this.#storage.history;
  }

  /** Watches that are open now. */
  get watches(): number {
    return this.#watches.size;
  }

  /** Ends all watches: cleanly, or as a broken connection. */
  cutWatches(how: "end" | "break" = "break"): void {
    for (const watch of this.#watches) {
      if (how === "end") watch.end();
      else watch.break();
    }
  }

  /** The connections of all watches become half open: they say nothing any more. Watches that are opened later do. */
  deafenWatches(): void {
    for (const watch of this.#watches) watch.deafen();
  }

  /** Sends a line to all watches that is no event. */
  sendBadLine(line = '{"type":"ADDED","object":{"metada'): void {
    for (const watch of this.#watches) watch.sendLine(line);
  }

  /** Forgets history and list snapshots: older watches and continue tokens get 410. Open watches go on. */
  compact(): void {
    this.#storage.compact();
    this.#snapshots.clear();
  }

  /** A backup: what it returns restores it, as an administrator does with etcd. All watches break, versions begin there again. */
  backup(): () => void {
    const restore = this.#storage.snapshot();
    return () => {
      restore();
      this.cutWatches();
    };
  }

  /** Sends a bookmark of the newest version to all watches that have had everything up to it. */
  bookmark(): void {
    for (const watch of this.#watches) watch.bookmark(this.#storage.version);
  }

  /** Events are held back until `resumeWatches`: reads through watches grow stale. */
  pauseWatches(): void {
    this.#paused = true;
  }

  resumeWatches(): void {
    this.#paused = false;
    for (const watch of this.#watches) watch.flush();
  }

  // ── Transport ──

  async send(request: ApiRequest, { signal }: Signal): Promise<ApiResponse> {
    signal.throwIfAborted();
    this.requests.push(request);
    const fault = this.#takeFault(request);
    await Promise.resolve(); // as over a socket: nothing happens within the caller's own turn
    switch (fault?.kind) {
      case undefined:
        return this.#serve(request, signal);
      case "not-sent":
        throw this.#lost(request, false);
      case "lost-before":
        throw this.#lost(request, true);
      case "lost-after":
        this.#serve(request, signal);
        throw this.#lost(request, true);
      case "status":
        return refuse(new FakeRefusal(fault.status, fault.reason, `injected ${fault.reason}`, fault.retryAfterS));
      case "late-answer": {
        const answer = this.#serve(request, signal);
        await this.#clock.sleep(fault.ms, { signal });
        return answer;
      }
      case "late-commit": {
        const served = this.#clock.sleep(fault.ms, { signal: never }).then(() => this.#serve(request, signal));
        if (fault.isLost) throw this.#lost(request, true);
        return abortable(served, signal);
      }
      case "hang":
        return abortable(new Promise<never>(() => {}), signal);
      default:
        return assertNever(fault);
    }
  }

  #takeFault(request: ApiRequest): Fault | undefined {
    const planned = this.#planned.find(({ match }) => match(request));
    if (planned === undefined) return this.faults(request);
    planned.times -= 1;
    if (planned.times <= 0) this.#planned = this.#planned.filter((other) => other !== planned);
    return planned.fault;
  }

  #lost(request: ApiRequest, sent: boolean): ApiUnreachableError {
    return new ApiUnreachableError({ server: this.server, ...request }, { sent, cause: new Error("socket hang up") });
  }

  #serve(request: ApiRequest, signal: AbortSignal): ApiResponse {
    try {
      const target = parseTarget(request.path);
      if (target.query.get("watch") === "true") return this.#watch(request, target, signal);
      return answer(request.method === "POST" ? 201 : 200, this.#act(request, target));
    } catch (error) {
      if (error instanceof FakeRefusal) return refuse(error);
      throw error;
    }
  }

  #act(request: ApiRequest, target: Target): object {
    const body = request.body === undefined ? {} : JSON.parse(Buffer.from(request.body).toString("utf8"));
    if (target.name === undefined) {
      return request.method === "POST" ? this.#create(target, body) : this.#list(request, target);
    }
    const before = this.#storage.get(target.collection, keyOf({ namespace: target.namespace, name: target.name }));
    if (before === undefined) throw new FakeRefusal(404, "NotFound", `${target.plural} "${target.name}" not found`);
    switch (request.method) {
      case "GET":
        return viewOf(request)(before);
      case "PUT":
        return this.#replace(target, before, body);
      case "PATCH":
        return viewOf(request)(this.#replace(target, before, patched(before, request, body)));
      case "DELETE":
        return this.#delete(target, before, body);
      case "POST":
        return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
      default:
        throw new FakeRefusal(405, "MethodNotAllowed", `${request.method} is not allowed`);
    }
  }

  #create(target: Target, body: StoredObject): StoredObject {
    const { generateName, ...metadata } = body.metadata;
    this.#names += 1;
    const name = metadata.name ?? `${generateName}${this.#names.toString(36).padStart(5, "0")}`;
    const named = { ...metadata, name, ...(target.namespace !== undefined && { namespace: target.namespace }) };
    const draft = this.#hasStatusSubresource(target) ? without(body, "status") : body;
    return this.#storage.create(target.collection, keyOf(named), draft, named);
  }

  /** The whole object, or its status alone where the request is for that. */
  #replace(target: Target, before: StoredObject, next: StoredObject): StoredObject {
    const { resourceVersion, uid } = next.metadata;
    if (resourceVersion !== before.metadata.resourceVersion || (uid !== undefined && uid !== before.metadata.uid)) {
      throw new FakeRefusal(
        409,
        "Conflict",
        `Operation cannot be fulfilled on ${target.plural} "${target.name}": the object has been modified`,
      );
    }
    const written =
      target.subresource === "status"
        ? {
            ...before,
            metadata: statusMetadata(target, before, next),
            ...("status" in next && { status: next["status"] }),
          }
        : this.#hasStatusSubresource(target)
          ? { ...without(next, "status"), ...("status" in before && { status: before["status"] }) }
          : next;
    return this.#storage.replace(target.collection, keyOf(before.metadata), before, written as StoredObject);
  }

  #delete(target: Target, before: StoredObject, options: DeleteBody): object {
    const { uid, resourceVersion } = options.preconditions ?? {};
    for (const [field, wanted] of [
      ["UID", uid ?? before.metadata.uid],
      ["ResourceVersion", resourceVersion ?? before.metadata.resourceVersion],
    ] as const) {
      const found = field === "UID" ? before.metadata.uid : before.metadata.resourceVersion;
      if (wanted === found) continue;
      const message = `the ${field} in the precondition (${wanted}) does not match the ${field} in record (${found})`;
      throw new FakeRefusal(409, "Conflict", `Precondition failed: ${message}`);
    }
    const left = this.#storage.delete(target.collection, keyOf(before.metadata), before);
    if (left.metadata.deletionTimestamp !== undefined) return left;
    return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details: { name: target.name } };
  }

  #list(request: ApiRequest, target: Target): object {
    const { query } = target;
    const limit = Number(query.get("limit") ?? 0) || Number.POSITIVE_INFINITY;
    const token = query.get("continue");
    const [version = "", offset = "0"] = (token ?? `${this.#storage.version}:0`).split(":");
    const snapshotKey = `${version} ${target.collection} ${target.namespace} ${query.get("labelSelector")} ${query.get("fieldSelector")}`;
    const selects = selection(target);
    const items =
      token === null
        ? this.#storage.list(target.collection).filter((object) => selects(target.collection, object))
        : this.#snapshots.get(snapshotKey);
    if (items === undefined) throw new FakeRefusal(410, "Expired", "The provided continue parameter is too old");
    const end = Number(offset) + limit;
    if (end < items.length) this.#snapshots.set(snapshotKey, items);
    return {
      kind: "List",
      apiVersion: "v1",
      metadata: { resourceVersion: version, ...(end < items.length && { continue: `${version}:${end}` }) },
      items: items.slice(Number(offset), end).map(viewOf(request)),
    };
  }

  #watch(request: ApiRequest, target: Target, signal: AbortSignal): ApiResponse {
    const streams = target.query.get("sendInitialEvents") === "true";
    if (streams && !this.#streams) throw new FakeRefusal(422, "Invalid", "sendInitialEvents is forbidden for watch");
    const after = streams ? this.#storage.version : Number(target.query.get("resourceVersion"));
    const missed = this.#storage.since(after);
    const watch: FakeWatch = new FakeWatch({
      after,
      selects: selection(target),
      view: viewOf(request),
      signal,
      onClose: () => this.#watches.delete(watch),
      lost: () => this.#lost(request, true),
    });
    if (missed === undefined) {
      const object = statusOf(new FakeRefusal(410, "Expired", "too old resource version"));
      watch.sendLine(JSON.stringify({ type: "ERROR", object }));
      watch.end();
    } else {
      this.#watches.add(watch);
      if (streams) watch.begin(target.collection, this.#storage.list(target.collection), this.#paused);
      for (const commit of missed) watch.offer(commit, this.#paused);
    }
    return { status: 200, headers: { "content-type": "application/json" }, body: watch.body() };
  }

  #hasStatusSubresource(target: Target): boolean {
    return !this.#wholeKinds.has(target.plural);
  }

  #locate(resource: Resource<KubeObject>, ref: ObjectRef): { readonly collection: string; readonly key: string } {
    return { collection: collectionPath(resource), key: keyOf(ref) };
  }
}

/** With the status of Pods and Nodes, labels and annotations can be written, too; with that of custom resources nothing else. */
function statusMetadata({ collection }: Target, before: StoredObject, next: StoredObject): StoredMeta {
  return collection.startsWith("/api/v1/") ? next.metadata : before.metadata;
}

interface DeleteBody {
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
}

function viewOf({ headers }: ApiRequest): (object: StoredObject) => object {
  if (!(headers["accept"] ?? "").includes("as=PartialObjectMetadata")) return (object) => object;
  return ({ metadata }) => ({ kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata });
}

/** The object with the patch applied. A merge patch may carry a resourceVersion as its precondition. */
function patched(before: StoredObject, { headers }: ApiRequest, body: unknown): StoredObject {
  if (!(headers["content-type"] ?? "").includes("json-patch")) return merged(before, body) as StoredObject;
  const after = structuredClone(before);
  const failed = applyPatch(after, body as Parameters<typeof applyPatch>[1]).find((error) => error !== null);
  if (failed !== undefined) throw new FakeRefusal(422, "Invalid", `the patch does not apply: ${failed?.message}`);
  return after;
}

/** RFC 7386. Strategic merges of lists are not imitated: they replace the list. */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> =
    typeof target === "object" && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}

function without(object: StoredObject, field: string): StoredObject {
  const { [field]: _, ...rest } = object;
  return rest as StoredObject;
}

function answer(status: number, body: object, headers: Readonly<Record<string, string>> = {}): ApiResponse {
  const bytes = Buffer.from(JSON.stringify(body));
  return {
    status,
    headers: { "content-type": "application/json", ...headers },
    body: (async function* () {
      yield bytes;
    })(),
  };
}

function refuse(refusal: FakeRefusal): ApiResponse {
  const headers: Record<string, string> =
    refusal.retryAfterS === undefined ? {} : { "retry-after": String(refusal.retryAfterS) };
  // An unserved path gets plain text, as from the real server.
  if (refusal.reason === "") return answer(refusal.status, [refusal.message]);
  return answer(refusal.status, statusOf(refusal), headers);
}

function statusOf({ status, reason, message }: FakeRefusal): object {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, code: status };
}
