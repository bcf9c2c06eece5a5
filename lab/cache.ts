import { homedir } from "node:os";
import { join } from "node:path";

/**
 * Where what is fetched or built once is kept: a folder, or a file in it, under `$SPIDERPOOL_CACHE`, else
 * `$XDG_CACHE_HOME/spiderpool`, else `~/.cache/spiderpool`. Makes nothing.
 */
export function cachePath(...below: readonly string[]): string {
  const { SPIDERPOOL_CACHE: own, XDG_CACHE_HOME: all } = process.env;
  if (own) return join(own, ...below);
  return join(all || join(homedir(), ".cache"), "spiderpool", ...below);
}
