import { homedir } from "node:os";
import { join } from "node:path";

/**
 * Path of a folder, or of a file in it, that keeps downloads and builds: under `$SPIDERPOOL_CACHE`, else
 * `$XDG_CACHE_HOME/spiderpool`, else `~/.cache/spiderpool`. Does not create it.
 */
export function cachePath(...below: readonly string[]): string {
  const { SPIDERPOOL_CACHE: own, XDG_CACHE_HOME: all } = process.env;
  if (own) return join(own, ...below);
  return join(all || join(homedir(), ".cache"), "spiderpool", ...below);
}
