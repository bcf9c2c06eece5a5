/**
 * Text with control characters, but for line feeds and tabs, and those that turn the direction of text, written as JSON writes
 * them: what Pods and Events say must not reach a terminal as commands to it.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (char) =>
    char === "\n" || char === "\t" ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
