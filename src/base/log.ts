import { pino } from "pino";
import { newest } from "./newest.ts";

/**
 * Constant message, data in fields. Keys come from a small list: pod, namespace, pool, ip, node, containerId, durationMs, err.
 */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: object): Logger;
}

/** The levels of pino, least severe first: each includes those after it. */
export const logLevels = ["debug", "info", "warn", "error", "fatal"] as const;
/** The least severe level that is written. */
export type LogLevel = (typeof logLevels)[number];

/** The newest lines of a log, kept for those who ask a program what it wrote last. */
export class RecentLines {
  readonly #charsMax: number;
  #lines: string[] = [];
  #chars = 0;

  constructor({ charsMax }: { readonly charsMax: number }) {
    this.#charsMax = charsMax;
  }

  add(line: string): void {
    this.#lines.push(line);
    this.#chars += line.length;
    // A quarter at a time, so that keeping the bound costs nothing per line.
    if (this.#chars <= this.#charsMax * 1.25) return;
    this.#lines = [...this.list()];
    this.#chars = this.#lines.reduce((sum, { length }) => sum + length, 0);
  }

  /** The oldest first. */
  list(): readonly string[] {
    return newest(this.#lines, this.#charsMax);
  }
}

interface LoggerOptions {
  readonly level: LogLevel;
  readonly name: string;
  /** Gets each line, too. */
  readonly recent?: RecentLines;
}

/** A JSON-lines logger on stderr: stdout belongs to results. */
export function createLogger(options: LoggerOptions): Logger {
  const stderr = pino.destination({ dest: 2, sync: true });
  const { recent } = options;
  const both = {
    write: (line: string) => {
      recent?.add(line.trimEnd());
      stderr.write(line);
    },
  };
  return pino(
    {
      name: options.name,
      level: options.level,
      base: { name: options.name },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    recent === undefined ? stderr : both,
  );
}

/** Drops everything. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silentLogger };
