import { SpiderError } from "#base";
import { at, isFields } from "./types.ts";

type Step = (values: readonly unknown[]) => unknown[];

const token =
  /\.((?:\\.|[^.[\]\\])+)|\[\s*(-?\d+)\s*\]|\[\s*(\*)\s*\]|\[\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)")\s*\]|\[\?\(\s*@((?:\.[^=!<>\s[\]]+)+)\s*(==|!=)\s*(?:'([^']*)'|"([^"]*)"|([^)\s]+))\s*\)\]/y;

/**
 * The part of kubectl's JSONPath that printer columns use: `.a.b`, `.a\.b`, `['a.b']`, `[0]`, `[-1]`, `[*]`,
 * `[?(@.type=="Ready")]`. Returns the values found, perhaps none. Throws SpiderError LAB_BAD_CRD for other paths.
 */
export function parseJsonPath(path: string): (value: unknown) => unknown[] {
  const steps: Step[] = [];
  token.lastIndex = 0;
  while (token.lastIndex < path.length) {
    const found = token.exec(path);
    if (found === null) throw new SpiderError("LAB_BAD_CRD", "unsupported JSONPath", { details: { path } });
    steps.push(stepOf(found));
  }
  return (value) => steps.reduce<unknown[]>((values, step) => step(values), [value]);
}

function stepOf([, field, index, all, single, double, path, op, text1, text2, bare]: RegExpExecArray): Step {
  const name = field ?? single ?? double;
  if (field === "*" || all !== undefined) return (values) => values.flatMap(items);
  if (name !== undefined) {
    const plain = name.replaceAll(/\\(.)/g, "$1");
    return (values) => values.map((value) => at(value, plain)).filter((value) => value !== undefined);
  }
  if (index !== undefined) {
    return (values) => values.map((value) => items(value).at(Number(index))).filter((value) => value !== undefined);
  }
  const steps = (path ?? "").slice(1).split(".");
  const wanted = text1 ?? text2 ?? bare ?? "";
  const matches = (item: unknown) => (String(at(item, ...steps)) === wanted) === (op === "==");
  return (values) => values.flatMap(items).filter(matches);
}

function items(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return isFields(value) ? Object.values(value) : [];
}
