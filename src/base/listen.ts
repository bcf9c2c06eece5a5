import type { ListenOptions, Server } from "node:net";
import { codeOf, SpiderError } from "./errors.ts";

/** Resolves when the server listens. Throws PORT_IN_USE, or else the system's error. */
export async function listen(server: Server, where: ListenOptions): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(where, resolve);
    });
  } catch (cause) {
    if (codeOf(cause) !== "EADDRINUSE" || where.port === undefined) throw cause;
    const { port, host = "every address" } = where;
    const wish = "end the program that has it (ss -ltnp), or give ours another port by the chart's values";
    throw new SpiderError("PORT_IN_USE", `port ${port} of ${host} is taken: ${wish}`, { cause });
  }
}
