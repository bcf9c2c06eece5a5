import { type Clock, type Signal, SpiderError } from "#base";
import type { Draft, KubeObject, ObjectRef, Resource } from "./resource.ts";
import type { Transport } from "./transport.ts";

export interface Selection {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export interface ListOptions extends Selection {
  readonly limit?: number;
  readonly continue?: string | undefined;
  /** "0" allows any cached, possibly stale state; absent demands the newest. */
  readonly resourceVersion?: string;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  readonly continue: string | undefined;
}

export type Patch =
  | { readonly kind: "merge" | "strategic"; readonly body: Readonly<Record<string, unknown>> }
  | { readonly kind: "json"; readonly operations: readonly JsonPatchOperation[] };

export type JsonPatchOperation =
  | { readonly op: "add" | "replace" | "test"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

export interface DeleteOptions {
  /** The server refuses with 409 `Conflict` where the object is not, or no longer, this one. */
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly propagationPolicy?: "Orphan" | "Background" | "Foreground";
  readonly gracePeriodSeconds?: number;
}

export type WatchEvent<T> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: T }
  | { readonly type: "BOOKMARK"; readonly resourceVersion: string };

export interface WatchOptions extends Selection {
  readonly resourceVersion: string;
  readonly timeoutSeconds: number;
}

/**
 * Typed calls. All throw {@link ApiStatusError}, {@link ApiUnreachableError} or the signal's reason; mutating ones ask
 * for `fieldValidation=Strict` and `timeout=4s`. Nothing is retried here: see `retry()`.
 */
export class KubeClient {
  constructor(_options: { readonly transport: Transport; readonly clock: Clock; readonly userAgent?: string }) {}

  /** undefined: there is none (404). */
  get<T extends KubeObject>(
    _resource: Resource<T>,
    _ref: ObjectRef,
    _o: Signal & { readonly resourceVersion?: string },
  ): Promise<T | undefined> {
    throw notYet();
  }

  /** One page. */
  list<T extends KubeObject>(_resource: Resource<T>, _o: Signal & ListOptions): Promise<Page<T>> {
    throw notYet();
  }

  /** Every object, page by page. */
  listAll<T extends KubeObject>(_resource: Resource<T>, _o: Signal & Selection): AsyncGenerator<T, void, undefined> {
    throw notYet();
  }

  create<T extends KubeObject>(_resource: Resource<T>, _draft: Draft<T>, _o: Signal): Promise<T> {
    throw notYet();
  }

  /** PUT with the object's own resourceVersion: 409 `Conflict` where it moved on. */
  update<T extends KubeObject>(
    _resource: Resource<T>,
    _object: T,
    _o: Signal & { readonly subresource?: "status" },
  ): Promise<T> {
    throw notYet();
  }

  patch<T extends KubeObject>(
    _resource: Resource<T>,
    _ref: ObjectRef,
    _patch: Patch,
    _o: Signal & { readonly subresource?: "status" },
  ): Promise<T> {
    throw notYet();
  }

  /** `deleting`: finalizers or a grace period hold it; `absent`: there was none. */
  delete(
    _resource: Resource<KubeObject>,
    _ref: ObjectRef,
    _o: Signal & DeleteOptions,
  ): Promise<"deleted" | "deleting" | "absent"> {
    throw notYet();
  }

  /** POST to a subresource (`binding`, `eviction`, `token`). */
  post(
    _resource: Resource<KubeObject>,
    _ref: ObjectRef,
    _subresource: string,
    _body: object,
    _o: Signal,
  ): Promise<unknown> {
    throw notYet();
  }

  /** The events of one watch until it ends; a broken line throws `API_WATCH_LINE`, an ERROR event ApiStatusError. */
  watch<T extends KubeObject>(
    _resource: Resource<T>,
    _o: Signal & WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    throw notYet();
  }
}

function notYet(): SpiderError {
  return new SpiderError("NOT_YET", "not yet");
}
