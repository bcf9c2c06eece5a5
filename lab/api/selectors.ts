import { badRequest } from "./failure.ts";
import type { Resource } from "./resource.ts";
import { at, type KubeObject } from "./types.ts";

export type Matcher = (object: KubeObject) => boolean;

type Labels = Readonly<Record<string, string>>;

const clause = /^\s*(?:(!)\s*(\S+)|(\S+)\s+(in|notin)\s*\(([^)]*)\)|([^\s=!<>]+)\s*(==|=|!=|<|>)\s*(\S*)|(\S+))\s*$/;

/** A label selector in kubectl's syntax: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Throws a 400. */
export function parseLabelSelector(text: string): (labels: Labels) => boolean {
  const tests = splitOutsideParentheses(text).map((part) => labelTest(part, text));
  return (labels) => tests.every((test) => test(labels));
}

function labelTest(part: string, whole: string): (labels: Labels) => boolean {
  const [, not, absent, setKey, setOp, set, key, op, value = "", present] = clause.exec(part) ?? [];
  if (not !== undefined && absent !== undefined) return (labels) => labels[absent] === undefined;
  if (setKey !== undefined && set !== undefined) {
    const wanted = new Set(set.split(",").map((item) => item.trim()));
    const has = (labels: Labels) => labels[setKey] !== undefined && wanted.has(labels[setKey]);
    return setOp === "in" ? has : (labels) => !has(labels);
  }
  if (key !== undefined) {
    if (op === "<") return (labels) => labels[key] !== undefined && Number(labels[key]) < Number(value);
    if (op === ">") return (labels) => labels[key] !== undefined && Number(labels[key]) > Number(value);
    return op === "!=" ? (labels) => labels[key] !== value : (labels) => labels[key] === value;
  }
  if (present !== undefined && !/[()!=<>]/.test(present)) return (labels) => labels[present] !== undefined;
  throw badRequest(`unable to parse requirement: found '${part.trim()}' in label selector "${whole}"`);
}

function splitOutsideParentheses(text: string): string[] {
  return text.split(/,(?![^(]*\))/).filter((part) => part.trim() !== "");
}

/** A field selector: `spec.nodeName=a,status.phase!=Running`. Throws a 400 for a field that the resource does not index. */
export function parseFieldSelector(text: string, resource: Resource): Matcher {
  const allowed = ["metadata.name", "metadata.namespace", ...resource.selectable];
  const tests = text
    .split(",")
    .filter((part) => part !== "")
    .map((part): Matcher => {
      const [, field = "", op, value = ""] = /^\s*([^=!\s]+)\s*(==|=|!=)\s*(.*?)\s*$/.exec(part) ?? [];
      if (field === "") throw badRequest(`invalid selector: '${text}'; can't understand '${part}'`);
      if (!allowed.includes(field)) throw badRequest(`field label not supported: ${field}`);
      const path = field.split(".");
      return (object) => (String(at(object, ...path) ?? "") === value) === (op !== "!=");
    });
  return (object) => tests.every((test) => test(object));
}

/** Both selectors of a list or watch, and the namespace. */
export function matcherOf(resource: Resource, query: URLSearchParams, namespace: string | undefined): Matcher {
  const labels = parseLabelSelector(query.get("labelSelector") ?? "");
  const fields = parseFieldSelector(query.get("fieldSelector") ?? "", resource);
  return (object) =>
    (namespace === undefined || object.metadata.namespace === namespace) &&
    labels(object.metadata.labels ?? {}) &&
    fields(object);
}
