import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../scripts/cluster.ts", import.meta.url));

/** Each is a test file of its own, as process 1 of namespaces of its own: see `scripts/cluster.ts`. */
const parts = {
  contact: "the product's requests, and what its rules refuse",
  chart: "what the chart renders is taken as it stands",
  identity: "each program may do its part and nothing else",
  rotation: "the webhooks' certificate is renewed without a call that fails",
};

describe("against etcd and kube-apiserver alone", () => {
  for (const [part, what] of Object.entries(parts)) {
    it(`${part}: ${what}`, async () => {
      const { NODE_TEST_CONTEXT: _ours, ...env } = process.env;
      const child = spawn(process.execPath, [program, part], { env, stdio: ["ignore", "pipe", "pipe"] });
      let said = "";
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding("utf8").on("data", (text) => (said += text));
      const status = await new Promise((resolve) => child.on("close", resolve));
      assert.equal(status, 0, said);
      assert.match(said, /^. pass [1-9]/m, said);
    });
  }
});
