import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { never } from "#base";
import type { RawCall } from "#cni";
import { Gate } from "./gate.ts";
import type { CallContext, CallHandler } from "./server.ts";

const callOf = (verb: string): RawCall => ({
  executable: "multus",
  env: { CNI_COMMAND: verb },
  stdin: Buffer.from(""),
});
const context: CallContext = { signal: never, exec: () => Promise.reject(new Error("no plugin runs here")) };
const answer: CallHandler = async ({ env }) => {
  return { exitCode: 0, stdout: Buffer.from(env["CNI_COMMAND"] ?? ""), stderr: Buffer.from("") };
};
const textOf = async (output: ReturnType<CallHandler>) => String((await output).stdout);

describe("Gate", () => {
  it("holds calls until it is opened, and then lets all through", async () => {
    const gate = new Gate();
    const held = ["ADD", "DEL"].map((verb) => textOf(gate.handle(callOf(verb), context)));
    gate.open(answer);
    assert.deepEqual(await Promise.all(held), ["ADD", "DEL"]);
    assert.equal(await textOf(gate.handle(callOf("CHECK"), context)), "CHECK");
  });

  it("lets DEL and GC through before the cluster is read, and nothing else", async () => {
    const gate = new Gate();
    const del = textOf(gate.handle(callOf("DEL"), context));
    const add = textOf(gate.handle(callOf("ADD"), context));
    gate.openForEndings(answer);
    assert.deepEqual([await del, await textOf(gate.handle(callOf("GC"), context))], ["DEL", "GC"]);
    gate.close();
    assert.match(await add, /ended before it could serve/);
  });

  it("answers a STATUS at once, with what the agent waits for", async () => {
    const gate = new Gate();
    gate.waitsFor = "the moon";
    const { code, msg, details } = JSON.parse(await textOf(gate.handle(callOf("STATUS"), context)));
    assert.deepEqual([code, msg, details], [50, "spiderpool-agent is starting", "it waits for the moon"]);
  });

  it("fails held calls, to be tried again, when the agent ends before it could serve", async () => {
    const gate = new Gate();
    const held = gate.handle(callOf("ADD"), context);
    gate.close();
    assert.equal(JSON.parse(await textOf(held)).code, 11);
  });

  it("forgets a call that the runtime gave up", async () => {
    const gate = new Gate();
    const gone = new AbortController();
    const held = gate.handle(callOf("ADD"), { ...context, signal: gone.signal });
    gone.abort(new Error("the runtime gave the call up"));
    assert.match(await textOf(held), /gave the call up/);
  });
});
