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

/** The command did what it was asked, or found nothing wrong. */
export const exitOk = 0;
/** It failed, or found something wrong. */
export const exitFailed = 1;
/** The command line is wrong, or the question can't be answered (no cluster, no right to read). */
export const exitUnknown = 2;
