import assert from "node:assert/strict";
import { buffer } from "node:stream/consumers";
import { describe, it } from "node:test";
import { createApiServer } from "../server.ts";

const rule = (resources: string[], verbs: string[], resourceNames?: string[]) => ({
  apiGroups: [""],
  resources,
  verbs,
  ...(resourceNames && { resourceNames }),
});

describe("the rights of a caller", () => {
  const api = createApiServer({
    rights: {
      program: [
        rule(["pods"], ["list", "get"]),
        rule(["pods/status"], ["patch"]),
        rule(["configmaps"], ["get", "list"], ["own"]),
      ],
    },
  });
  const status = async (method: string, path: string, agent = "program") =>
    (await api.handle({ method, path: `/api/v1${path}`, headers: { "user-agent": agent } })).status;

  it("are those of the rules for it, by resource, subresource, verb and name", async () => {
    assert.equal(await status("GET", "/pods"), 200);
    assert.equal(await status("GET", "/namespaces/default/pods/a"), 404);
    assert.equal(await status("GET", "/pods?watch=true"), 403);
    assert.equal(await status("DELETE", "/namespaces/default/pods/a"), 403);
    assert.equal(await status("PATCH", "/namespaces/default/pods/a"), 403);
    assert.notEqual(await status("PATCH", "/namespaces/default/pods/a/status"), 403);
    assert.equal(await status("GET", "/nodes"), 403);
    assert.notEqual(await status("GET", "/namespaces/default/configmaps/own"), 403);
    assert.equal(await status("GET", "/namespaces/default/configmaps/other"), 403);
    assert.notEqual(await status("GET", "/configmaps?fieldSelector=metadata.name%3Down"), 403);
    assert.equal(await status("GET", "/configmaps"), 403);
  });

  it("are all, for a caller without rules", async () => {
    assert.equal(await status("GET", "/nodes", "kubectl"), 200);
  });

  it("are refused in the words of Kubernetes", async () => {
    const { body } = await api.handle({ method: "GET", path: "/api/v1/nodes", headers: { "user-agent": "program" } });
    assert.match((await buffer(body)).toString(), /nodes .{4} is forbidden: User ..program.. cannot list resource/);
  });
});
