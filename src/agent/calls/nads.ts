import { readdirSync, readFileSync, statSync } from "node:fs";
import type { NetworkAttachmentDefinition } from "#api";
import { codeOf, SpiderError } from "#base";
import type { Store } from "#kube";
import type { ConfigSource } from "#multus";

/** A configuration file larger than this is none. */
const fileBytesMax = 1 << 20;

/** Network configurations as the resolver reads them: definitions from the watch, files from the node. */
export function createConfigSource(nads: Store<NetworkAttachmentDefinition>): ConfigSource {
  return {
    nad: (namespace, name) => {
      const nad = nads.get(`${namespace}/${name}`);
      return nad && { ...nad, metadata: { ...nad.metadata, namespace } };
    },
    directory: (path) => ifThere(() => (statSync(path).isDirectory() ? readdirSync(path) : undefined)),
    file: (path) =>
      ifThere(() => {
        const { size } = statSync(path);
        if (size <= fileBytesMax) return readFileSync(path, "utf8");
        throw new SpiderError(
          "FILE_TOO_LARGE",
          `network configuration ${path} has ${size} bytes, ${fileBytesMax} are allowed`,
        );
      }),
  };
}

function ifThere<T>(read: () => T | undefined): T | undefined {
  try {
    return read();
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
