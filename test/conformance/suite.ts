import assert from "node:assert/strict";
import type { Answer, Api, Body } from "./api.ts";

/** Where ConfigMaps of the namespace `default` are. */
export const maps = "/api/v1/namespaces/default/configmaps";

/** The content types of the three kinds of patch, as options of a call. */
export const merge = { type: "application/merge-patch+json" };
export const strategic = { type: "application/strategic-merge-patch+json" };
export const jsonPatch = { type: "application/json-patch+json" };

/** The API server under test, and what every test does with it. */
export interface Suite extends Pick<Api, "call" | "watch"> {
  /** Creates an object. The test fails if that is refused. */
  readonly made: (path: string, object: object) => Promise<Body>;
  /** Names of a list's objects, in its order. */
  readonly names: (list: Body) => readonly string[];
}

/** @param server called when the tests run, not when they are declared */
export function suiteOf(server: () => Api): Suite {
  const call: Api["call"] = (...args) => server().call(...args);
  return {
    call,
    watch: (...args) => server().watch(...args),
    made: async (path, object) => {
      const { status, body } = await call("POST", path, object);
      assert.equal(status, 201, JSON.stringify(body));
      return body;
    },
    names: (list) => list.items.map((item: Body) => item.metadata.name),
  };
}

/** A ConfigMap. */
export function map(name: string, metadata: object = {}, data: object = {}): object {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, ...metadata }, data };
}

/** Asserts that the answer is a Status of this code, reason and message. */
export function refused(answer: Answer, status: number, reason: string, message: RegExp | string): void {
  const { message: said = "" } = answer.body;
  assert.deepEqual([answer.status, answer.body.reason], [status, reason], JSON.stringify(answer.body));
  if (typeof message === "string") assert.equal(said, message);
  else assert.match(said, message);
}
