const decimal = ["", "k", "M", "G", "T", "P", "E"];
const binary = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/**
 * The API server's spelling of a whole amount: with the largest suffix of the same system that leaves it whole. Fractions and
 * exponents are returned as they are.
 */
export function canonicalQuantity(text: string): string {
  const [, digits, suffix = ""] = /^(\d+)([kMGTPE]|[KMGTPE]i)?$/.exec(text) ?? [];
  if (digits === undefined) return text;
  const [suffixes, step] = suffix.endsWith("i") ? [binary, 1024n] : [decimal, 1000n];
  let amount = BigInt(digits);
  let index = suffixes.indexOf(suffix);
  if (amount === 0n) return "0";
  for (; amount % step === 0n && index < suffixes.length - 1; index += 1) amount /= step;
  return `${amount}${suffixes[index]}`;
}

/** A whole amount as a number; NaN if it is none. */
export function quantityValue(text: string): number {
  const [, digits, suffix = ""] = /^(\d+)([kMGTPE]|[KMGTPE]i)?$/.exec(text) ?? [];
  const [suffixes, step] = suffix.endsWith("i") ? [binary, 1024] : [decimal, 1000];
  return Number(digits) * step ** suffixes.indexOf(suffix);
}
