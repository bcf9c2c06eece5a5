import type { TestEvent } from "node:test/reporters";

/** One test as it ended inside the user-mode kernel. */
export interface Outcome {
  /** Names of the suites and of the test, from the outermost. */
  readonly path: readonly string[];
  readonly isSuite: boolean;
  readonly passed: boolean;
  readonly durationMs: number;
  /** Why it was not run. */
  readonly skipped?: string;
  readonly error?: string;
}

/** A reporter of node:test: a line of JSON for each test. */
// biome-ignore lint/style/noDefaultExport: node:test takes a reporter from there
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const path: string[] = [];
  for await (const event of source) {
    if (event.type === "test:start") path.splice(event.data.nesting, path.length, event.data.name);
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const { nesting, name, skip, details } = event.data;
    const outcome: Outcome = {
      path: [...path.slice(0, nesting), name],
      isSuite: details.type === "suite",
      passed: event.type === "test:pass",
      durationMs: details.duration_ms,
      ...(skip !== undefined && skip !== false && { skipped: String(skip) }),
      ...("error" in details && { error: textOf(details.error) }),
    };
    yield `${JSON.stringify(outcome)}\n`;
  }
}

function textOf(error: Error): string {
  const cause = error.cause instanceof Error ? error.cause : error;
  return cause.stack ?? cause.message;
}
