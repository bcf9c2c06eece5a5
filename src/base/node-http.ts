/**
 * Node's `node:http`. An import of it as a module would run the getters of all that it exports, one of which loads Node's other
 * HTTP client, and HTTP/2 with it: memory and a slower start that no program of ours has use for.
 */
export function nodeHttp(): typeof import("node:http") {
  return process.getBuiltinModule("node:http");
}
