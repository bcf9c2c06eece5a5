#!/usr/bin/env node
// spiderpoolctl, also installed as kubectl-spiderpool: wires the process to a command.
import { basename } from "node:path";
import { readFiles } from "./files.ts";
import { runProgram } from "./program.ts";

const stop = new AbortController();
process.once("SIGINT", () => stop.abort(new Error("interrupted")));
process.exitCode = await runProgram(process.argv.slice(2), {
  name: basename(process.argv[1] ?? "").startsWith("kubectl-") ? "kubectl spiderpool" : "spiderpoolctl",
  io: {
    out: (written) => void process.stdout.write(written),
    err: (written) => void process.stderr.write(written),
    env: process.env,
    interactive: process.stdout.isTTY === true,
    read: readFiles,
    signal: stop.signal,
  },
});
