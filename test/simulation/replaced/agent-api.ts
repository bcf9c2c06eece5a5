/** HTTP servers of the agent: nobody asks them here. */
export * from "../../../src/agent/http/api.ts";

const closed = async (): Promise<AsyncDisposable> => ({ [Symbol.asyncDispose]: async () => {} });

export { closed as serveApi, closed as serveProbes, closed as serveText };
