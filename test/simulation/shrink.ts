/**
 * The shortest list found of which `fails` still says yes: halves, quarters and so on are left out, then single entries.
 * Bounded by `triesMax` calls.
 */
export async function shrink<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
  { triesMax = 150 }: { readonly triesMax?: number } = {},
): Promise<readonly T[]> {
  let left = items;
  let tries = 0;
  for (let size = Math.ceil(left.length / 2); size >= 1 && tries < triesMax; ) {
    let removed = false;
    for (let start = 0; start < left.length && tries < triesMax; ) {
      const without = left.toSpliced(start, size);
      tries += 1;
      if (await fails(without)) {
        left = without;
        removed = true;
      } else start += size;
    }
    if (size === 1 && !removed) break;
    size = removed ? Math.min(size, Math.max(1, Math.ceil(left.length / 2))) : Math.ceil(size / 2);
    if (left.length === 0) break;
  }
  return left;
}
