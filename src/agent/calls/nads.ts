import { readdirSync, statSync } from "node:fs";
import type { NetworkAttachmentDefinition } from "#api";
import { codeOf, readConfigFile } from "#base";
import type { Store } from "#kube";
import type { ConfigSource } from "#multus";

/** Network configurations as the resolver reads them: definitions from the watch, files from the node. */
export function createConfigSource(nads: Store<NetworkAttachmentDefinition>): ConfigSource {
  return {
    nad: (namespace, name) => {
      const nad = nads.get(`${namespace}/${name}`);
      return nad && { ...nad, metadata: { ...nad.metadata, namespace } };
    },
    directory: (path) => ifThere(() => (statSync(path).isDirectory() ? readdirSync(path) : undefined)),
    file: readConfigFile,
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
