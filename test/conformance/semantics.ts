import assert from "node:assert/strict";
import type { Api } from "./api.ts";
import { builtins } from "./builtins.ts";
import { definitions } from "./definitions.ts";
import { reading } from "./reading.ts";
import { suiteOf } from "./suite.ts";
import { widgetCrd, widgets } from "./widgets.ts";
import { writing } from "./writing.ts";

/**
 * Tests of what clients may rely on, for one API server. The lab's and real ones must pass the same tests, so that a difference
 * between them is a failure. `server` is called when the tests run. {@link prepare} must make the definition of widgets before.
 */
export function semantics(server: () => Api): void {
  const suite = suiteOf(server);
  writing(suite);
  reading(suite);
  definitions(suite);
  builtins(suite);
}

/** Makes the definition that the suite needs and waits until it is served. */
export async function prepare({ call }: Api): Promise<void> {
  const { status, body } = await call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widgetCrd);
  assert.equal(status, 201, JSON.stringify(body));
  for (const untilMs = performance.now() + 20_000; performance.now() < untilMs; ) {
    if ((await call("GET", widgets)).status === 200) return;
  }
  assert.fail("widgets are not served after 20 s");
}
