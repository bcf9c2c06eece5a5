// spiderpool-controller: reads flags, builds, wires signals.
import "./heap.ts";
import { createLogger, formatError } from "#base";
import { readOptions } from "./options.ts";
import { runProgram } from "./program.ts";

try {
  const options = readOptions(process.argv.slice(2), process.env);
  if ("print" in options) process.stdout.write(options.print);
  else {
    const log = createLogger({ level: options.logLevel, name: "spiderpool-controller" });
    const stop = new AbortController();
    for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort(new Error(name)));
    await runProgram(options, log, { signal: stop.signal });
    process.exit(0);
  }
} catch (error) {
  process.stderr.write(`spiderpool-controller: ${formatError(error)}\n`);
  process.exit(1);
}
