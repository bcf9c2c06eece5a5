import { SpiderError } from "#base";

const step = /\.((?:\\.|[^.[\]\\])+)|\[(\d+)\]|\['((?:\\.|[^'\\])*)'\]/y;

/**
 * The JSONPath of a printer column as the steps to its value: `.a.b`, `.a\.b`, `['a.b']`, `[0]`.
 * Throws SpiderError LAB_BAD_CRD for paths that may find several values.
 */
export function parsePath(path: string): readonly (string | number)[] {
  const steps: (string | number)[] = [];
  step.lastIndex = 0;
  while (step.lastIndex < path.length) {
    const found = step.exec(path);
    if (found === null) throw new SpiderError("LAB_BAD_CRD", "unsupported JSONPath", { details: { path } });
    const [, plain, index, quoted = ""] = found;
    steps.push(index === undefined ? (plain ?? quoted).replaceAll(/\\(.)/g, "$1") : Number(index));
  }
  return steps;
}
