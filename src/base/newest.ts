/** The end of a list that is within `charsMax`, by what each item takes of it. */
export function newest<T>(
  items: readonly T[],
  charsMax: number,
  sizeOf = (item: T): number => String(item).length,
): readonly T[] {
  let left = charsMax;
  const lastLeftOut = items.findLastIndex((item) => {
    left -= sizeOf(item);
    return left < 0;
  });
  return items.slice(lastLeftOut + 1);
}
