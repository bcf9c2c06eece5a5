/** The agent's socket: the runtime of the machine calls straight into it. */
import type { Listener } from "../cluster/machine.ts";
import { current, type Process } from "../runtime/process.ts";

export class CniServer implements AsyncDisposable {
  readonly #superseded = new AbortController();
  readonly #listener: Listener;

  private constructor(listener: Listener) {
    this.#listener = listener;
  }

  static async listen(_path: string, handle: Listener["handle"]): Promise<CniServer> {
    const process = current();
    const server = new CniServer({
      process,
      handle,
      superseded: () => server.#superseded.abort(new Error("superseded")),
    });
    if (!process.isDead) listenOn(process, server.#listener);
    return server;
  }

  /** Aborts when another agent has taken the place. */
  get superseded(): AbortSignal {
    return this.#superseded.signal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { machine } = current();
    if (machine.listener === this.#listener) machine.listener = undefined;
  }
}

function listenOn({ machine }: Process, listener: Listener): void {
  const before = machine.listener;
  machine.listener = listener;
  before?.process.after(1, before.superseded);
}
