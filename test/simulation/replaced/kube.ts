/** `#kube` as the simulated programs see it: there is one API server, and the world connects the process to it. */
import type { Transport } from "#kube";
import { current } from "../runtime/process.ts";

export * from "#kube";

export function loadKubeConfig(): object {
  return {};
}

export function createTransport(): Transport & Disposable {
  const { transport, name } = current();
  if (transport === undefined) throw new Error(`${name} has no way to an API server`);
  return { ...transport, [Symbol.dispose]: () => {} };
}
