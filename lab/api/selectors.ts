import { badRequest } from "./failure.ts";
import type { Resource } from "./resource.ts";
import { at, type Fields, type KubeObject } from "./types.ts";

/** A compiled selector: true for objects that it selects. */
export type Matcher = (object: KubeObject) => boolean;

type Labels = Readonly<Record<string, string>>;

/** The labels of a selector as text: `a=b,c=d`. */
export function formatLabels(labels: Readonly<Fields>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${String(value)}`)
    .sort()
    .join(",");
}

const setClause = /^(\S+)\s+(in|notin)\s*\(([^)]*)\)$/;
const valueClause = /^([^\s!=]+)\s*(=|==|!=)\s*([^\s!=]*)$/;
const presenceClause = /^(!?)\s*([^\s!=()<>]+)$/;

/** A label selector in kubectl's syntax: `a=b,c!=d,e in (f,g),h notin (i),j,!k`. Throws a 400. */
export function parseLabelSelector(text: string): (labels: Labels) => boolean {
  const clauses = text.split(/,(?![^(]*\))/).map((clause) => clause.trim());
  const tests = clauses.filter((clause) => clause !== "").map(labelTest);
  return (labels) => tests.every((test) => test(labels));
}

function labelTest(clause: string): (labels: Labels) => boolean {
  const [, setKey, setOp, set = ""] = setClause.exec(clause) ?? [];
  if (setKey !== undefined) {
    const wanted = set.split(",").map((item) => item.trim());
    return (labels) => wanted.includes(labels[setKey] ?? "") === (setOp === "in");
  }
  const [, key, op, value] = valueClause.exec(clause) ?? [];
  if (key !== undefined) return (labels) => (labels[key] === value) === (op !== "!=");
  const [, not, present] = presenceClause.exec(clause) ?? [];
  if (present !== undefined) return (labels) => (labels[present] !== undefined) === (not === "");
  throw badRequest(`unable to parse requirement: found '${clause}' in a label selector`);
}

/** A field selector: `spec.nodeName=a,status.phase!=Running`. Throws a 400 for a field that the resource does not index. */
function parseFieldSelector(text: string, resource: Resource): Matcher {
  const allowed = ["metadata.name", "metadata.namespace", ...resource.selectable];
  const clauses = text.split(",").filter((clause) => clause !== "");
  const tests = clauses.map((clause): Matcher => {
    const [, field = "", op, value] = valueClause.exec(clause.trim()) ?? [];
    if (!allowed.includes(field)) throw badRequest(`field label not supported: ${field}`);
    return (object) => (String(at(object, ...field.split(".")) ?? "") === value) === (op !== "!=");
  });
  return (object) => tests.every((test) => test(object));
}

/** The selector of a request, from its query and namespace. */
export function matcherOf(resource: Resource, query: URLSearchParams, namespace: string | undefined): Matcher {
  const labels = parseLabelSelector(query.get("labelSelector") ?? "");
  const fields = parseFieldSelector(query.get("fieldSelector") ?? "", resource);
  return (object) =>
    (namespace === undefined || object.metadata.namespace === namespace) &&
    labels(object.metadata.labels ?? {}) &&
    fields(object);
}
