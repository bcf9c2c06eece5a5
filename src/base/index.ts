/**
 * The foundation of every module: errors, clock, backoff, locks, Steps, supervised tasks, log, metrics, JSON. Nothing here knows
 * about networks or Kubernetes. Imports nothing of ours. Anyone may import it.
 */
export { type BackoffOptions, backoffMs } from "./backoff.ts";
export { readBody } from "./body.ts";
export { abortable, type Clock, never, type Signal, sleepBy, systemClock, within, withTimeout } from "./clock.ts";
export { checkCommand, Environment } from "./environment.ts";
export { assertNever, codeOf, formatError, hasCode, SpiderError } from "./errors.ts";
export { FairQueue } from "./fair-queue.ts";
export { Index } from "./indexed.ts";
export { isJsonObject, type JsonObject } from "./json.ts";
export { listen } from "./listen.ts";
export { KeyedLock } from "./lock.ts";
export { createLogger, type Logger, type LogLevel, RecentLines, silentLogger } from "./log.ts";
export { formatMetricTable, Metrics, type MetricTable, metricsContentType } from "./metrics.ts";
export { newest } from "./newest.ts";
export { nodeHttp } from "./node-http.ts";
export { printable } from "./printable.ts";
export { readConfigFile, readIfThere, removeFile, writeState, writeStateFile } from "./state.ts";
export { type FailPoint, type Span, type Stage, Steps, type StepsOptions, stages } from "./steps.ts";
export { Tasks } from "./tasks.ts";
export { productVersion } from "./version.ts";
