import { abortable, withTimeout } from "#base";
import { CniError, cniCodes, failureOutput, latestVersion } from "#cni";
import type { CallHandler } from "./server.ts";

/** How long a call is kept for a starting agent. This and the call's deadline together stay within the shim's patience. */
const heldMsMax = 40_000;

/** These verbs use only the node's own records, because they must succeed without the API server. */
const endings: readonly (string | undefined)[] = ["DEL", "GC"];

/**
 * Holds calls back until the agent can answer them: its predecessor on the node must have ended and, except for DEL and GC, the
 * cluster must be read. A STATUS is answered at once, because the runtime wants to know just that.
 */
export class Gate {
  readonly #opened = Promise.withResolvers<CallHandler>();
  readonly #openedForEndings = Promise.withResolvers<CallHandler>();
  #handler: CallHandler | undefined;
  /** What the agent waits for, in words for people. */
  waitsFor = "the agent that served this node before";

  constructor() {
    for (const { promise } of [this.#opened, this.#openedForEndings]) promise.catch(() => {}); // Nobody may be waiting.
  }

  /** Answers or holds one call. Never throws. */
  readonly handle: CallHandler = async (call, context) => {
    try {
      const handler = this.#handler ?? (await this.#open(call.env["CNI_COMMAND"], context.signal));
      return await handler(call, context);
    } catch (error) {
      return failureOutput(error, latestVersion);
    }
  };

  /** From now on DEL and GC are answered. */
  openForEndings(handler: CallHandler): void {
    this.#openedForEndings.resolve(handler);
  }

  /** From now on all calls are answered, those that are held first. */
  open(handler: CallHandler): void {
    this.#handler = handler;
    this.#opened.resolve(handler);
    this.#openedForEndings.resolve(handler);
  }

  /** Calls that are still held fail: nobody will answer them. */
  close(): void {
    const ended = new CniError(cniCodes.tryAgain, "spiderpool-agent ended before it could serve");
    for (const { reject } of [this.#opened, this.#openedForEndings]) reject(ended);
  }

  async #open(verb: string | undefined, caller: AbortSignal): Promise<CallHandler> {
    const starting = (code: number) =>
      new CniError(code, "spiderpool-agent is starting", { text: `it waits for ${this.waitsFor}` });
    if (verb === "STATUS") throw starting(cniCodes.notAvailable);
    using limit = withTimeout(caller, heldMsMax, () => starting(cniCodes.tryAgain));
    const { promise } = endings.includes(verb) ? this.#openedForEndings : this.#opened;
    return await abortable(promise, limit);
  }
}
