// spiderpool-init: reads flags, builds, wires signals.
import { formatError, systemClock } from "#base";
import { createTransport, KubeClient, loadKubeConfig } from "#kube";
import { clean } from "./clean.ts";
import type { Deps } from "./deps.ts";
import { install } from "./install.ts";
import { type InitOptions, readOptions } from "./options.ts";
import { prepare } from "./prepare.ts";
import { isFinal } from "./retry.ts";

/** Less than the five minutes that Helm waits for a hook, so that our own message comes first. */
const durationMsMax = 240_000;

async function main(options: InitOptions): Promise<void> {
  const clock = systemClock;
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort(new Error(name)));
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(durationMsMax)]);
  using transport = createTransport(loadKubeConfig({ kubeconfig: options.kubeconfig }), { clock });
  const client = new KubeClient({ transport, clock, userAgent: "spiderpool-init" });
  const deps: Deps = { client, clock, say: (line) => process.stdout.write(`${line}\n`) };
  // Awaited, because the transport ends with this function.
  switch (options.command) {
    case "install":
      return await install(options, deps, { signal });
    case "crds":
      return await prepare(options, deps, { signal });
    case "clean":
      return await clean(options, deps, { signal });
  }
}

try {
  const options = readOptions(process.argv.slice(2), process.env);
  if ("print" in options) process.stdout.write(options.print);
  else await main(options);
} catch (error) {
  process.stderr.write(`spiderpool-init: ${formatError(error)}\n`);
  process.exitCode = isFinal(error) ? 3 : 1;
}
