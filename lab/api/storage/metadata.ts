import { randomInt } from "node:crypto";
import { badRequest, conflict, type FieldError, invalid, modified } from "../failure.ts";
import type { Resource } from "../resource.ts";
import type { Fields, KubeObject, ObjectMeta, OwnerReference } from "../types.ts";

/** What is wrong with labels and owners of an object of any kind. */
export function metadataErrors({ labels = {}, ownerReferences = [] }: ObjectMeta): readonly FieldError[] {
  const controllers = ownerReferences.filter(({ controller }) => controller === true);
  return [...labelErrors(labels), ...(controllers.length > 1 ? [tooManyControllers(controllers)] : [])];
}

const nameRule =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end " +
  "with an alphanumeric character";

/** The name of an object to be created: its own, or one made from `generateName`. Throws a 422 for a name that is not allowed. */
export function nameOf(resource: Resource, given: Readonly<ObjectMeta>): string {
  const { name = "", generateName = "" } = given;
  if (name !== "") {
    if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name) || name.length > 253) {
      const message = `Invalid value: ${JSON.stringify(name)}: ${nameRule}`;
      throw invalid(resource, name, [{ field: "metadata.name", reason: "FieldValueInvalid", message }]);
    }
    return name;
  }
  if (generateName === "") {
    const message = "Required value: name or generateName is required";
    throw invalid(resource, name, [{ field: "metadata.name", reason: "FieldValueRequired", message }]);
  }
  return generateName + randomSuffix();
}

function randomSuffix(): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  return Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join("");
}

const labelRule =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end " +
  "with an alphanumeric character";

function labelErrors(labels: Readonly<Record<string, string>>): readonly FieldError[] {
  return Object.values(labels)
    .filter((value) => !/^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/.test(value))
    .map((value) => {
      const message = `Invalid value: ${JSON.stringify(value)}: ${labelRule}`;
      return { field: "metadata.labels", reason: "FieldValueInvalid", message };
    });
}

function tooManyControllers(owners: readonly OwnerReference[]): FieldError {
  const [first, second] = owners.map(({ kind, name }) => `${kind}/${name}`);
  const message = `Invalid value: Only one reference can have Controller set to true. Found "true" in references for ${first} and ${second}`;
  return { field: "metadata.ownerReferences", reason: "FieldValueInvalid", message };
}

/** Throws a 400, 409 or 422 if an update is not of the object `old` in the version that is stored. */
export function checkIdentity(resource: Resource, old: KubeObject, given: Readonly<ObjectMeta>): void {
  const { name, uid, resourceVersion } = old.metadata;
  if (given.name !== name) {
    const found = given.name ?? "";
    throw badRequest(`the name of the object (${found}) does not match the name on the URL (${name})`);
  }
  if ((given.uid ?? "") !== "" && given.uid !== uid) {
    const why = `Precondition failed: UID in precondition: ${given.uid}, UID in object meta: ${uid}`;
    throw conflict(resource, name, why);
  }
  if ((given.resourceVersion ?? "") === "") {
    if (!resource.custom && resource.plural !== "leases") return;
    const message = "Invalid value: 0x0: must be specified for an update";
    throw invalid(resource, name, [{ field: "metadata.resourceVersion", reason: "FieldValueInvalid", message }]);
  }
  if (given.resourceVersion !== resourceVersion) throw conflict(resource, name, modified);
}

/** The server's own fields from `old`, the client's from `given`. */
export function mergedMeta(old: ObjectMeta, given: Readonly<ObjectMeta>): Readonly<Fields> {
  const { labels = {}, annotations = {}, finalizers = [], ownerReferences = [] } = given;
  const changeable = { labels, annotations, finalizers, ownerReferences };
  const entries = Object.entries(changeable).map(([field, value]) => [field, isEmpty(value) ? undefined : value]);
  return { ...old, ...Object.fromEntries(entries) }; // what is undefined is not copied
}

function isEmpty(value: object): boolean {
  return Object.keys(value).length === 0;
}

/** Throws a 422 if an object that is being deleted gets a finalizer. */
export function checkFinalizers(resource: Resource, old: KubeObject, next: KubeObject): void {
  if (old.metadata.deletionTimestamp === undefined) return;
  const added = (next.metadata.finalizers ?? []).filter((name) => !old.metadata.finalizers?.includes(name));
  if (added.length === 0) return;
  const message = `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`;
  throw invalid(resource, next.metadata.name, [
    { field: "metadata.finalizers", reason: "FieldValueForbidden", message },
  ]);
}
