import { pino } from "pino";

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

/** A JSON-lines logger on stderr: stdout belongs to results. */
export function createLogger(options: { readonly level: LogLevel; readonly name: string }): Logger {
  return pino(
    {
      name: options.name,
      level: options.level,
      base: { name: options.name },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** Drops everything. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silentLogger };
