import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LinuxError } from "../errors.ts";
import type { Request, Transport } from "./channel.ts";
import { LaterChannel } from "./later-channel.ts";
import { controlTypes, decodeMessages, encodeMessages, type Message } from "./message.ts";

const port = 77;

/** A kernel that works on each send until it is told to go on, and refuses requests of type 99. */
function slow() {
  const sends: (readonly Message[])[] = [];
  const closed: number[] = [];
  const working: (() => void)[] = [];
  let answers: Message[] = [];
  const transport: Transport = {
    port,
    send: () => assert.fail("the thread would wait"),
    sendLater: async (bytes) => {
      const sent = decodeMessages(bytes);
      sends.push(sent);
      await new Promise<void>((resolve) => working.push(resolve));
      answers = sent.map(({ type, sequence }, at) => {
        const body = new Uint8Array(20);
        if (type === 99) new DataView(body.buffer).setInt32(0, -17, true);
        const isLast = at === sent.length - 1;
        return type === 99 || isLast
          ? { type: controlTypes.error, flags: 0, sequence, port, body }
          : { type: 16, flags: 0, sequence, port, body: Uint8Array.of(type, 0, 0, 0) };
      });
    },
    receive: () => {
      if (answers.length === 0) throw new LinuxError(11, "receive");
      return { bytes: encodeMessages(answers.splice(0)), senderPort: 0 };
    },
    [Symbol.dispose]: () => void closed.push(sends.length),
  };
  return { later: new LaterChannel(() => transport), sends, closed, goOn: () => working.shift()?.() };
}

const requests = (...types: readonly number[]): readonly Request[] =>
  types.map((type) => ({ type, flags: 0, body: new Uint8Array(4), attempted: () => `request ${type}` }));
const codes = (replies: readonly { readonly error: LinuxError | undefined }[]) =>
  replies.map(({ error }) => error?.code);

describe("an exchange for which nobody waits", () => {
  test("leaves at once; what is asked meanwhile goes together in the next, and each hears of its own", async () => {
    const { later, sends, goOn } = slow();
    const first = later.exchange(requests(20, 21));
    const [second, third] = [later.exchange(requests(99, 22)), later.exchange(requests(23))];
    assert.equal(sends.length, 1);
    goOn();
    assert.deepEqual(codes(await first), [undefined, undefined]);
    goOn();
    assert.deepEqual(codes(await second), ["EEXIST", undefined]);
    assert.deepEqual(codes(await third), [undefined]);
    assert.deepEqual(
      sends.map((sent) => sent.map(({ type }) => type)),
      [
        [20, 21],
        [99, 22, 23],
      ],
    );
  });

  test("takes only so many together that the last does not wait for long", async () => {
    const { later, sends, goOn } = slow();
    const all = [later.exchange(requests(20))];
    for (let n = 0; n < 3; n++) all.push(later.exchange(requests(...Array.from({ length: 14 }, () => 21))));
    for (const one of all) {
      goOn();
      await one;
    }
    assert.deepEqual(
      sends.map(({ length }) => length),
      [1, 28, 14],
    );
  });

  test("ends before the socket is closed", async () => {
    const { later, closed, goOn } = slow();
    const asked = later.exchange(requests(20));
    later[Symbol.dispose]();
    assert.deepEqual(closed, []);
    goOn();
    await asked;
    await Promise.resolve();
    assert.deepEqual(closed, [1]);
  });
});
