import { type Family, formatIpSet, IpParseError, type IpRange, IpSet, parseRange } from "#ip";
import { invalid, type Violation } from "./violation.ts";

/** The range that an element of `ips` or `excludeIPs` stands for, or why it is invalid. */
export function readElement(text: string, family: Family): IpRange | { readonly problem: string } {
  try {
    return parseRange(text, family);
  } catch (error) {
    if (error instanceof IpParseError) return { problem: error.message };
    throw error;
  }
}

/** Violations of a list of elements, with indexes. `outside` checks a further condition of each element. */
export function checkElements(
  field: string,
  texts: readonly string[] = [],
  family: Family,
  outside: (range: IpRange) => string | undefined = () => undefined,
): readonly Violation[] {
  return texts.flatMap((text, index) => {
    const range = readElement(text, family);
    const problem = "problem" in range ? range.problem : outside(range);
    return problem === undefined ? [] : [invalid(`${field}[${index}]`, text, problem)];
  });
}

/** The addresses of a list; undefined if an element is invalid. */
export function trySetOf(texts: readonly string[] = [], family: Family): IpSet | undefined {
  const ranges: IpRange[] = [];
  for (const text of texts) {
    const range = readElement(text, family);
    if ("problem" in range) return undefined;
    ranges.push(range);
  }
  return IpSet.of(family, ranges);
}

/** The normal form of a list: ascending maximal ranges. Lists of one element, or with an invalid one, stay unchanged. */
export function normaliseElements(texts: readonly string[], family: Family): readonly string[] {
  const set = texts.length < 2 ? undefined : trySetOf(texts, family);
  return set === undefined ? texts : formatIpSet(set);
}

/** `[10.0.0.1-10.0.0.9 10.0.0.12]`, shortened if there are many ranges. */
export function showSet(set: IpSet): string {
  const shown = formatIpSet(set).slice(0, 10);
  return `[${shown.join(" ")}${set.intervalCount > shown.length ? " …" : ""}]`;
}
