import assert from "node:assert/strict";
import { ApiStatusError } from "#kube";

/** The API server's refusal of a call. Fails if it allows the call, or if the call fails without an answer. */
export async function refusal(call: Promise<unknown>): Promise<ApiStatusError> {
  const error = await call.then(
    () => assert.fail("the server allowed it"),
    (thrown: unknown) => thrown,
  );
  if (error instanceof ApiStatusError) return error;
  throw error;
}
