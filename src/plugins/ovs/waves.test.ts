import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { never } from "#base";
import { type Place, Waves } from "./waves.ts";

/** Lets what has been resolved be noticed. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Enters and notes who is admitted, in order. */
function crowd(waves: Waves) {
  const admitted: string[] = [];
  const places = new Map<string, Place>();
  const enter = (name: string, tenant = "default") =>
    waves.enter(tenant, { signal: never }).then((place) => {
      admitted.push(name);
      places.set(name, place);
    });
  const leave = (name: string) => places.get(name)?.[Symbol.dispose]();
  return { admitted, places, enter, leave };
}

describe("waves", () => {
  it("admits at once who comes alone, and all others together when it has left", async () => {
    const { admitted, enter, leave } = crowd(new Waves());
    for (const name of ["a", "b", "c"]) void enter(name);
    await settle();
    assert.deepEqual(admitted, ["a"]);
    leave("a");
    await settle();
    assert.deepEqual(admitted, ["a", "b", "c"]);
  });

  it("begins the next wave when the last member has left, however often a member leaves", async () => {
    const { admitted, enter, leave } = crowd(new Waves());
    void enter("first");
    for (const name of ["a", "b"]) void enter(name);
    await settle();
    leave("first");
    await settle();
    leave("first");
    void enter("late");
    leave("a");
    leave("a");
    await settle();
    assert.deepEqual(admitted, ["first", "a", "b"]);
    leave("b");
    await settle();
    assert.deepEqual(admitted, ["first", "a", "b", "late"]);
  });

  it("brings the members of a wave together; who has left is not waited for", async () => {
    const { places, enter, leave } = crowd(new Waves());
    void enter("first");
    for (const name of ["a", "b", "c"]) void enter(name);
    await settle();
    leave("first");
    await settle();
    let together = false;
    void places
      .get("a")
      ?.together()
      .then(() => {
        together = true;
      });
    leave("c");
    await settle();
    assert.equal(together, false);
    void places.get("b")?.together();
    await settle();
    assert.equal(together, true);
  });

  it("takes one call of each tenant in turn", async () => {
    const { admitted, enter, leave } = crowd(new Waves());
    void enter("first");
    await settle();
    for (let at = 0; at < 100; at++) void enter(`busy-${at}`, "busy");
    for (const at of [0, 1]) void enter(`quiet-${at}`, "quiet");
    leave("first");
    await settle();
    assert.equal(admitted.length, 1 + 64);
    assert.deepEqual(admitted.slice(0, 6), ["first", "busy-0", "quiet-0", "busy-1", "quiet-1", "busy-2"]);
  });

  it("lets a call go that is given up, whether it waits or was admitted at the same moment", async () => {
    const waves = new Waves();
    const { admitted, enter, leave } = crowd(waves);
    void enter("first");
    await settle();
    const [waiting, admittedToo] = [new AbortController(), new AbortController()];
    const refused = [waiting, admittedToo].map(({ signal }) =>
      assert.rejects(waves.enter("default", { signal }), /given up/),
    );
    waiting.abort(new Error("given up"));
    leave("first");
    admittedToo.abort(new Error("given up"));
    await Promise.all(refused);
    void enter("next");
    await settle();
    assert.deepEqual(admitted, ["first", "next"]);
  });

  it("admits everybody in the end, one wave at a time, in whatever order calls come and leave", async () => {
    const tenants = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(tenants, fc.infiniteStream(fc.nat(1_000)), async (calls, choices) => {
        const { admitted, enter, leave } = crowd(new Waves());
        for (const [at, tenant] of calls.entries()) void enter(`${at}`, tenant);
        let left = 0;
        while (left < calls.length) {
          await settle();
          const inside = admitted.slice(left);
          assert.ok(inside.length > 0 && inside.length <= 64, `${inside.length} members`);
          inside.sort(() => ((choices.next().value ?? 0) % 2 === 0 ? 1 : -1));
          for (const name of inside) {
            assert.equal(admitted.length, left + inside.length, "nobody enters a wave that has begun");
            leave(name);
          }
          left += inside.length;
        }
        assert.deepEqual(
          [...admitted].map(Number).sort((a, b) => a - b),
          calls.map((_, at) => at),
        );
      }),
      { numRuns: 50 },
    );
  });
});
