import { after, before, describe } from "node:test";
import { multusConfigFlags, multusConfigs } from "./multus-configs.ts";
import { subnets } from "./subnets.ts";
import { type Suite, startSuite } from "./suite.ts";

// One after the other on the same cluster: the start of one costs more than these tests.
describe("on one node", () => {
  let suite: Suite;
  before(async () => {
    suite = await startSuite("one-node", { nodes: 1, bridges: true, flags: multusConfigFlags });
  });
  after(() => suite?.[Symbol.asyncDispose]());

  multusConfigs(() => suite);
  subnets(() => suite);
});
