/** The most similar of the names, by edit distance; the first one if several are equally similar. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const scored = names.map((one) => ({ one, distance: editDistance(name, one) }));
  return scored.toSorted((a, b) => a.distance - b.distance)[0]?.one;
}

/** How many letters must be inserted, removed or replaced (Levenshtein distance). */
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
