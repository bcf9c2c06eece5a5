/** Where a value stands in a text: from its first byte to the one after its last. */
interface Span {
  readonly start: number;
  readonly end: number;
}

const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];
const itemsKey = Buffer.from('"items"');

/**
 * Where the objects of a list stand in its JSON, so that each can be decoded and trimmed alone, and a page of large objects is
 * never in memory as a whole. `array` is all of `items`. Undefined if the text has no `items` of objects, or is broken. An
 * object that is found may still be broken inside.
 */
export function spansOfItems(bytes: Buffer): { readonly array: Span; readonly items: readonly Span[] } | undefined {
  const start = startOfItems(bytes);
  if (start === undefined) return undefined;
  const items: Span[] = [];
  let at = pastSpace(bytes, start + 1);
  if (bytes[at] === closeBracket) return { array: { start, end: at + 1 }, items };
  for (;;) {
    const end = bytes[at] === openBrace ? endOfValue(bytes, at) : undefined;
    if (end === undefined) return undefined;
    items.push({ start: at, end });
    at = pastSpace(bytes, end);
    if (bytes[at] === closeBracket) return { array: { start, end: at + 1 }, items };
    if (bytes[at] !== comma) return undefined;
    at = pastSpace(bytes, at + 1);
  }
}

/** The position of the bracket that opens the list's own `items`; those of its parts do not count. */
function startOfItems(bytes: Buffer): number | undefined {
  let at = pastSpace(bytes, 0);
  if (bytes[at] !== openBrace) return undefined;
  do {
    const key = pastSpace(bytes, at + 1);
    const keyEnd = bytes[key] === quote ? endOfString(bytes, key) : undefined;
    if (keyEnd === undefined) return undefined;
    at = pastSpace(bytes, keyEnd);
    if (bytes[at] !== colon) return undefined;
    at = pastSpace(bytes, at + 1);
    const isItems = bytes[at] === openBracket && bytes.compare(itemsKey, 0, itemsKey.length, key, keyEnd) === 0;
    if (isItems) return at;
    const end = endOfValue(bytes, at);
    if (end === undefined) return undefined;
    at = pastSpace(bytes, end);
  } while (bytes[at] === comma);
  return undefined;
}

/** The position after the value that begins at `at`. */
function endOfValue(bytes: Buffer, at: number): number | undefined {
  let depth = 0;
  for (let next = at; next < bytes.length; next++) {
    const byte = bytes[next];
    if (byte === quote) {
      const end = endOfString(bytes, next);
      if (end === undefined || depth === 0) return end;
      next = end - 1;
    } else if (byte === openBrace || byte === openBracket) depth += 1;
    else if (byte === closeBrace || byte === closeBracket) {
      // One that closes what the value stands in ends a number or a word.
      if (depth === 0) return next;
      depth -= 1;
      if (depth === 0) return next + 1;
    } else if (byte === comma && depth === 0) return next;
  }
  return undefined;
}

/** The position after the string whose opening quote is at `at`. */
function endOfString(bytes: Buffer, at: number): number | undefined {
  for (let next = at + 1; next < bytes.length; next++) {
    if (bytes[next] === quote) return next + 1;
    if (bytes[next] === backslash) next += 1;
  }
  return undefined;
}

function pastSpace(bytes: Buffer, at: number): number {
  let next = at;
  while (bytes[next] === 0x20 || bytes[next] === 0x0a || bytes[next] === 0x0d || bytes[next] === 0x09) next += 1;
  return next;
}
