import type { Submitted, Violation } from "#api";
import type { Signal } from "#base";
import type { KubeObject, Resource } from "#kube";
import type { SentObject } from "./review.ts";

interface ValidateOptions extends Signal {
  /** True for a dry run: the object will not be stored. */
  readonly dryRun: boolean;
}

/** How admission handles objects of one kind. */
export interface Admission<T extends KubeObject> {
  /** Fills in defaults. `old` is the stored object, for an update. */
  readonly mutate: (object: Submitted<T>, old: T | undefined) => Submitted<T>;
  /** Returns why the object may not be created or, for an update, may not replace `old`. Empty: it may. */
  readonly validate: (
    object: Submitted<T>,
    old: T | undefined,
    o: ValidateOptions,
  ) => Promise<readonly Violation[]> | readonly Violation[];
  /**
   * Whether the API server will refuse the object by a CEL rule of its schema. It checks those before it asks whether the object
   * is valid, and their messages cannot say what would be right: so the webhook that fills in defaults refuses it, in our words.
   * @default never
   */
  readonly isRefusedByCel?: (object: Submitted<T>, old: T | undefined) => boolean;
  /**
   * Returns why the object may not be deleted yet; undefined: it may, and its finalizer keeps it while it is in use.
   * @default never refuses
   */
  readonly refuseDeletion?: (object: T, o: Signal) => Promise<string | undefined> | string | undefined;
  /** Warnings about an object that is admitted. @default none */
  readonly warn?: (object: Submitted<T>) => readonly string[];
}

/** An {@link Admission} of untyped objects, as the API server sends them to the webhooks' routes. */
export interface AdmissionKind {
  readonly resource: Resource<KubeObject>;
  readonly mutate: (object: SentObject, old: SentObject | undefined) => SentObject;
  readonly validate: (
    object: SentObject,
    old: SentObject | undefined,
    o: ValidateOptions,
  ) => Promise<readonly Violation[]>;
  readonly isRefusedByCel: (object: SentObject, old: SentObject | undefined) => boolean;
  readonly refuseDeletion: (object: SentObject, o: Signal) => Promise<string | undefined>;
  readonly warn: (object: SentObject) => readonly string[];
}

/**
 * The one place where a sent object is cast to its kind and back: the request's path names the kind, and the schema was checked.
 */
export function kindOf<T extends KubeObject>(
  resource: Resource<T>,
  { mutate, validate, isRefusedByCel, refuseDeletion, warn }: Admission<T>,
): AdmissionKind {
  const sent = (object: SentObject) => object as unknown as Submitted<T>;
  const stored = (object: SentObject) => object as unknown as T;
  return {
    resource,
    mutate: (object, old) => mutate(sent(object), old && stored(old)) as unknown as SentObject,
    validate: async (object, old, o) => validate(sent(object), old && stored(old), o),
    isRefusedByCel: (object, old) => isRefusedByCel?.(sent(object), old && stored(old)) ?? false,
    refuseDeletion: async (object, o) => refuseDeletion?.(stored(object), o),
    warn: (object) => warn?.(sent(object)) ?? [],
  };
}
