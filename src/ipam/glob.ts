/** One step of a pattern: any run of characters, or one character that `accepts` allows. */
type Token = "run" | { readonly accepts: (char: string) => boolean };

/** True if a pool name is a pattern: it contains `?`, `*`, or both `[` and `]`. */
export function isGlob(name: string): boolean {
  return /[?*]/.test(name) || (name.includes("[") && name.includes("]"));
}

/**
 * Compiles a shell pattern into a test of names: `*` is any run, `?` one character, `[abc]`, `[a-c]` and `[^a]` are classes, `\`
 * makes the next character literal. Undefined if the pattern is malformed (an open or empty class, a `\` at the end).
 */
export function compileGlob(pattern: string): ((name: string) => boolean) | undefined {
  const tokens: Token[] = [];
  const chars = [...pattern];
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at];
    if (char === "*") {
      if (tokens.at(-1) !== "run") tokens.push("run");
    } else if (char === "?") tokens.push({ accepts: () => true });
    else if (char === "[") {
      const parsed = parseClass(chars, at + 1);
      if (parsed === undefined) return undefined;
      tokens.push(parsed);
      at = parsed.end;
    } else {
      const literal = char === "\\" ? chars[++at] : char;
      if (literal === undefined) return undefined;
      tokens.push({ accepts: (found) => found === literal });
    }
  }
  return (name) => matches(tokens, [...name]);
}

/** Greedy, going back only to the last run. So the cost is at most the product of both lengths, whatever the pattern. */
function matches(tokens: readonly Token[], name: readonly string[]): boolean {
  let [token, at] = [0, 0];
  let back: { token: number; at: number } | undefined;
  while (at < name.length) {
    const next = tokens[token];
    const char = name[at] ?? "";
    if (next === "run") {
      back = { token: ++token, at };
    } else if (next?.accepts(char)) {
      token++;
      at++;
    } else if (back !== undefined) {
      back.at++;
      ({ token, at } = back);
    } else return false;
  }
  while (tokens[token] === "run") token++;
  return token === tokens.length;
}

/** Parses the class whose first character is at `from`. `end` is the index of its `]`. */
function parseClass(
  chars: readonly string[],
  from: number,
): (Exclude<Token, "run"> & { readonly end: number }) | undefined {
  const negated = chars[from] === "^";
  const ranges: { readonly low: string; readonly high: string }[] = [];
  let at = negated ? from + 1 : from;
  const take = (): string | undefined => {
    if (chars[at] === "\\") at++;
    return chars[at++];
  };
  while (chars[at] !== "]" || ranges.length === 0) {
    if (chars[at] === "]" || chars[at] === "-") return undefined;
    const low = take();
    let high = low;
    if (chars[at] === "-") {
      at++;
      if (chars[at] === "]") return undefined;
      high = take();
    }
    if (low === undefined || high === undefined) return undefined;
    ranges.push({ low, high });
  }
  const accepts = (char: string) => ranges.some(({ low, high }) => low <= char && char <= high) !== negated;
  return { accepts, end: at };
}
