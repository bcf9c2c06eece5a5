import { formatError } from "#base";
import { redact } from "./redact.ts";

/** One kind of thing in a bundle. */
export interface Part {
  readonly kind: string;
  readonly items: readonly unknown[];
  /** How many there was no room for. */
  readonly leftOut: number;
  readonly bytes: number;
  /** Why there are none, or not all. */
  readonly error?: string | undefined;
}

/** For what is around the items. */
const frameBytes = 10_000;

/** The items without credentials, as long as there is room for them. An error ends the part, which keeps what came before it. */
export async function partOf(
  kind: string,
  source: AsyncIterable<unknown>,
  { left, signal }: { readonly left: number; readonly signal: AbortSignal },
): Promise<Part> {
  const items: unknown[] = [];
  let [bytes, leftOut] = [0, 0];
  try {
    for await (const item of source) {
      const shown = redact(item);
      // One for the comma.
      const size = Buffer.byteLength(JSON.stringify(shown)) + 1;
      if (bytes + size > left - frameBytes) leftOut += 1;
      else {
        bytes += size;
        items.push(shown);
      }
    }
    return { kind, items, leftOut, bytes };
  } catch (error) {
    signal.throwIfAborted();
    return { kind, items, leftOut, bytes, error: formatError(error) };
  }
}
