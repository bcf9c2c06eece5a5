// spiderpool-agent: reads flags, builds, wires signals.
import "./heap.ts";
import { createLogger, formatError, RecentLines } from "#base";
import { runAgent } from "./agent.ts";
import { uninstall } from "./node/uninstall.ts";
import { readOptions } from "./options.ts";

/** About a thousand lines. */
const recentCharsMax = 250_000;

try {
  if (process.argv[2] === "uninstall") {
    const log = createLogger({ level: "info", name: "spiderpool-agent" });
    process.stdout.write(uninstall(process.argv.slice(3), log) ?? "");
    process.exit(0);
  }
  const options = readOptions(process.argv.slice(2), process.env);
  if ("print" in options) process.stdout.write(options.print);
  else {
    const recent = new RecentLines({ charsMax: recentCharsMax });
    const log = createLogger({ level: options.logLevel, name: "spiderpool-agent", recent });
    const stop = new AbortController();
    for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort(new Error(name)));
    await runAgent(options, log, { signal: stop.signal, recent });
    process.exit(0);
  }
} catch (error) {
  process.stderr.write(`spiderpool-agent: ${formatError(error)}\n`);
  process.exit(1);
}
