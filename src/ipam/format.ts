import { checks, type Rejection, type Verdict } from "./checks.ts";

/** How many names or reasons a sentence lists before it says how many more there are: kubelet and Events cut long texts. */
const listedMax = 10;

/** The sentence about the verdict on one pool. */
export function formatVerdict(verdict: Verdict): string {
  if (verdict.accepted) return `accepted IPPool ${verdict.pool}`;
  return checks.find(({ id }) => id === verdict.check)?.reason(verdict) ?? verdict.check;
}

/** Joins the items; of more than ten only the first ten, and how many more there are. */
export function listed(items: readonly string[], separator: string): string {
  if (items.length <= listedMax) return items.join(separator);
  return `${items.slice(0, listedMax).join(separator)}${separator}and ${items.length - listedMax} more`;
}

/** What to do if all pools were rejected: the advice of each check that failed, the most frequent check first. */
export function fixesOf(rejections: readonly Rejection[]): string {
  const counts = Map.groupBy(rejections, ({ check }) => check);
  const ids = [...counts.keys()].sort((a, b) => (counts.get(b)?.length ?? 0) - (counts.get(a)?.length ?? 0));
  return ids.flatMap((failed) => checks.find(({ id }) => id === failed)?.fix ?? []).join("; or ");
}
