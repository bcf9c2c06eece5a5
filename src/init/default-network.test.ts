import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { nodeNetwork } from "./default-network.ts";

const folder = mkdtempSync(join(tmpdir(), "spiderpool-init-"));
after(() => rmSync(folder, { recursive: true, force: true }));

describe("nodeNetwork()", () => {
  const name = (files: Readonly<Record<string, string>>) => {
    const directory = mkdtempSync(join(folder, "cni-"));
    for (const [file, text] of Object.entries(files)) writeFileSync(join(directory, file), text);
    const { object } = nodeNetwork(directory, "kube-system");
    return [object.metadata.name, Object.values(object.metadata.annotations ?? {})[0]];
  };

  it("has the name of the node's first configuration that is not ours", () => {
    const files = {
      "00-multus.conf": '{"name":"ours"}',
      "10-b.conflist": '{"name":"cbr0"}',
      "20-c.conf": '{"name":"c"}',
    };
    assert.deepEqual(name(files), ["cbr0", undefined]);
  });

  it("is calico if Calico's is found, and default if there is none with a valid name", () => {
    assert.deepEqual(name({ "10-calico.conflist": '{"name":"k8s-pod-network"}' }), ["calico", "k8s-pod-network"]);
    assert.deepEqual(name({ "a.conf": "{", "b.conf": '{"name":"Not A Name"}', "c.conf.bak": '{"name":"c"}' }), [
      "default",
      undefined,
    ]);
  });
});
