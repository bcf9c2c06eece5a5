// spiderpool-agent: reads flags, builds, wires signals.
import "./heap.ts";
import { createLogger, formatError } from "#base";
import { runAgent } from "./agent.ts";
import { readOptions } from "./options.ts";
import { uninstall } from "./uninstall.ts";

try {
  if (process.argv[2] === "uninstall") {
    const log = createLogger({ level: "info", name: "spiderpool-agent" });
    process.stdout.write(uninstall(process.argv.slice(3), log) ?? "");
    process.exit(0);
  }
  const options = readOptions(process.argv.slice(2), process.env);
  if ("print" in options) process.stdout.write(options.print);
  else {
    const log = createLogger({ level: options.logLevel, name: "spiderpool-agent" });
    const stop = new AbortController();
    for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort(new Error(name)));
    await runAgent(options, log, { signal: stop.signal });
    process.exit(0);
  }
} catch (error) {
  process.stderr.write(`spiderpool-agent: ${formatError(error)}\n`);
  process.exit(1);
}
