/** HTTP servers of the controller: nobody asks them here. */
export * from "../../../src/controller/http/http.ts";

export async function serveHttp(): Promise<AsyncDisposable & { readonly port: number }> {
  return { port: 0, [Symbol.asyncDispose]: async () => {} };
}
