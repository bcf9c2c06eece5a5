import type { Submitted, Violation } from "#api";
import type { Signal } from "#base";
import type { KubeObject, Resource } from "#kube";
import type { SentObject } from "./review.ts";

interface ValidateOptions extends Signal {
  /** The object will not be stored. */
  readonly dryRun: boolean;
}

/** What admission does with objects of one kind. */
export interface Admission<T extends KubeObject> {
  /** Fills in what the user left out; an update may depend on what `old` was. */
  readonly mutate: (object: Submitted<T>, old: T | undefined) => Submitted<T>;
  /** Why the object may not be created, or not replace `old`. */
  readonly validate: (
    object: Submitted<T>,
    old: T | undefined,
    o: ValidateOptions,
  ) => Promise<readonly Violation[]> | readonly Violation[];
  /** Why the object may not be deleted yet; undefined: it may, and its finalizer holds it while it is in use. @default never */
  readonly refuseDeletion?: (object: T, o: Signal) => Promise<string | undefined> | string | undefined;
  /** What a user should hear although it is allowed. @default nothing */
  readonly warn?: (object: Submitted<T>) => readonly string[];
}

/** An {@link Admission} as the webhooks' routes see it: of objects as the API server sends them. */
export interface AdmissionKind {
  readonly resource: Resource<KubeObject>;
  readonly mutate: (object: SentObject, old: SentObject | undefined) => unknown;
  readonly validate: (
    object: SentObject,
    old: SentObject | undefined,
    o: ValidateOptions,
  ) => Promise<readonly Violation[]>;
  readonly refuseDeletion: (object: SentObject, o: Signal) => Promise<string | undefined>;
  readonly warn: (object: SentObject) => readonly string[];
}

/** The one place where an object that was sent is taken for one of its kind: its path says so, and its schema was checked. */
export function kindOf<T extends KubeObject>(
  resource: Resource<T>,
  { mutate, validate, refuseDeletion, warn }: Admission<T>,
): AdmissionKind {
  const sent = (object: SentObject) => object as unknown as Submitted<T>;
  const stored = (object: SentObject) => object as unknown as T;
  return {
    resource,
    mutate: (object, old) => mutate(sent(object), old && stored(old)),
    validate: async (object, old, o) => validate(sent(object), old && stored(old), o),
    refuseDeletion: async (object, o) => refuseDeletion?.(stored(object), o),
    warn: (object) => warn?.(sent(object)) ?? [],
  };
}
