/** Files of the node by which a runtime finds its plugins: here it knows them. */
export * from "../../../src/agent/node/install/node.ts";

export class NodeFiles {
  install(): void {}

  keep(): Promise<void> {
    return Promise.resolve();
  }
}
