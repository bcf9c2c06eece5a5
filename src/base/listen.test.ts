import assert from "node:assert/strict";
import { type AddressInfo, createServer } from "node:net";
import { it } from "node:test";
import { formatError } from "./errors.ts";
import { listen } from "./listen.ts";

it("a port that another program has is named, with what to do", async (t) => {
  const [first, second] = [createServer(), createServer()];
  t.after(() => first.close());
  await listen(first, { host: "127.0.0.1", port: 0 });
  const { port } = first.address() as AddressInfo;
  await assert.rejects(listen(second, { host: "127.0.0.1", port }), (error) => {
    assert.match(
      formatError(error),
      new RegExp(`^port ${port} of 127\\.0\\.0\\.1 is taken: end the program that has it`),
    );
    return true;
  });
});
