import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { createApiServer, createLabClient, isStatus } from "../../lab/api/index.ts";

const crd = new URL("../../charts/spiderpool/crds/spiderpool.spidernet.io_spideripaddresses.yaml", import.meta.url);
const kind = "spiderpool.spidernet.io/v2beta1/spideripaddresses";
const name = "10.6.0.1";
const of = { podNamespace: "default", podName: "a", podUID: "uid-a", nic: "eth0", node: "n1" };

describe("a claim, for whoever may write it", () => {
  const client = createLabClient({ api: createApiServer({ crds: [readFileSync(crd, "utf8")] }) });

  for (const [field, other] of [
    ["address", "10.6.0.2"],
    ["pool", "other"],
    ["poolUID", "uid-other"],
    ["poolGeneration", 2],
    ["podUID", "uid-b"],
    ["node", "n2"],
  ] as const) {
    it(`keeps its ${field}`, async () => {
      const spec = { format: 1, address: name, purpose: "Pod", pool: "p", poolUID: "uid-p", poolGeneration: 1, ...of };
      const metadata = { name };
      await client.create(kind, {
        apiVersion: "spiderpool.spidernet.io/v2beta1",
        kind: "SpiderIPAddress",
        metadata,
        spec,
      });
      await client.patch(kind, { name }, { spec: { containerID: "s1" } });
      await assert.rejects(client.patch(kind, { name }, { spec: { [field]: other } }), (error) => isStatus(error, 422));
      await client.delete(kind, { name });
    });
  }
});
