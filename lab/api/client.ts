import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { isDeepStrictEqual } from "node:util";
import { type Clock, SpiderError, systemClock } from "#base";
import type { LabApi } from "./server.ts";
import {
  type ApiRequest,
  type ApiResponse,
  type Fields,
  type KubeObject,
  textAt,
  type WatchEventType,
} from "./types.ts";

/** Names an object; `namespace` is absent for cluster-scoped kinds. */
export interface ObjectRef {
  readonly name: string;
  readonly namespace?: string;
}

export interface ListOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface WatchOptions extends ListOptions {
  /** Ends the watch. */
  readonly signal: AbortSignal;
}

export interface ObjectList<T> {
  readonly resourceVersion: string;
  readonly items: readonly T[];
}

export interface Watch {
  /** Settles when everything that existed at the start has been reported as ADDED. */
  readonly synced: Promise<void>;
  /** Settles when the watch has ended: its signal aborted. Rejects when `onEvent` threw. */
  readonly done: Promise<void>;
}

/**
 * A small client for the lab's own parts. `resource` is `"v1/pods"`, `"apps/v1/deployments"`. `T` is the caller's word for
 * what the kind looks like (for example a type of `kubernetes-types`); nothing checks it.
 * Failed calls throw SpiderError LAB_API with `details: {status, reason, method, path}`; see {@link isStatus}.
 */
export interface LabClient {
  /** Undefined where it does not exist. */
  get<T extends object = KubeObject>(resource: string, ref: ObjectRef): Promise<T | undefined>;
  list<T extends object = KubeObject>(resource: string, options?: ListOptions): Promise<ObjectList<T>>;
  /** The namespace is taken from the object's metadata. */
  create<T extends object = KubeObject>(resource: string, object: object): Promise<T>;
  /** Puts the whole object; with its resourceVersion inside, a 409 tells of a change in between. */
  update<T extends object = KubeObject>(resource: string, object: object): Promise<T>;
  /** Puts the object's status alone. */
  updateStatus<T extends object = KubeObject>(resource: string, object: object): Promise<T>;
  /** A list is a JSON patch, an object a merge patch. */
  patch<T extends object = KubeObject>(
    resource: string,
    ref: ObjectRef,
    patch: object,
    options?: { readonly subresource?: string },
  ): Promise<T>;
  /** True when it was there. `gracePeriodSeconds: 0` is the kubelet's word that a Pod has ended. */
  delete(
    resource: string,
    ref: ObjectRef,
    options?: { readonly uid?: string; readonly resourceVersion?: string; readonly gracePeriodSeconds?: number },
  ): Promise<boolean>;
  /** Posts to a subresource that is an action: `pods` `binding`, `pods` `eviction`. */
  act(resource: string, ref: ObjectRef, subresource: string, body: object): Promise<void>;
  /**
   * Reports every change from now on, after an ADDED for each object that exists. Reconnects and relists by itself; a
   * relist reports what changed, appeared and vanished meanwhile. Events are delivered one after the other: `onEvent` is
   * awaited.
   */
  watch<T extends object = KubeObject>(
    resource: string,
    options: WatchOptions,
    onEvent: (event: { readonly type: WatchEventType; readonly object: T }) => void | Promise<void>,
  ): Watch;
}

/** True where a call failed with this HTTP status. */
export function isStatus(error: unknown, status: number): boolean {
  return error instanceof SpiderError && error.code === "LAB_API" && error.details["status"] === status;
}

/** A client over HTTP, or straight into a server of this process. */
export function createLabClient(
  _target: { readonly baseUrl: string } | { readonly api: LabApi },
  _options: { readonly clock?: Clock } = {},
): LabClient {
  throw new SpiderError("NOT_YET", "not written yet");
}
