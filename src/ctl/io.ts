/** A file that was read. */
export interface TextFile {
  /** As it was named; `-` for standard input. */
  readonly name: string;
  readonly text: string;
}

/** What a command sees of the world besides the cluster: injected, so that a test reads what a user would. */
export interface Io {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** True if a person reads the output: progress and colours are for them only. */
  readonly interactive: boolean;
  /** A file, those of a folder, or standard input for `-`. Throws what the file system says. */
  readonly read: (path: string) => Promise<readonly TextFile[]>;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/**
 * Text with control characters, but for line feeds and tabs, and those that turn the direction of text, written as JSON writes
 * them: what Pods and Events say must not reach the terminal as commands to it.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (char) =>
    char === "\n" || char === "\t" ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The command did what it was asked, or found nothing wrong. */
export const exitOk = 0;
/** It failed, or found something wrong. */
export const exitFailed = 1;
/** The command line is wrong, or the question can't be answered (no cluster, no right to read). */
export const exitUnknown = 2;
