/** mulberry32: reproducible whole numbers in [0, 2³²) from the lower 32 bits of a seed. */
export function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** The numbers of `mulberry32` as fractions in [0, 1). */
export function fractionsFrom(seed: number): () => number {
  const next = mulberry32(seed);
  return () => next() / 2 ** 32;
}
