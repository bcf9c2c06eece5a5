/** The nearest of the names, by the fewest letters to change; the first where several are as near. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const scored = names.map((one) => ({ one, distance: editDistance(name, one) }));
  return scored.toSorted((a, b) => a.distance - b.distance)[0]?.one;
}

/** How many letters must be put in, taken out or replaced (Levenshtein). */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
