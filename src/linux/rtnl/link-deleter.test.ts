import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { MessageWriter } from "../netlink/attributes.ts";
import type { Transport } from "../netlink/channel.ts";
import { controlTypes, decodeMessages, encodeMessages, type Message } from "../netlink/message.ts";
import { LinkDeleter } from "./link-deleter.ts";

/** A deleter whose kernel agrees to everything, and how many links went with each deletion. */
function deleterOf(clock: ManualClock) {
  const sends: number[] = [];
  let last: Message | undefined;
  const transport: Transport = {
    send: () => assert.fail("on the thread that serves calls"),
    sendLater: async (bytes) => {
      const messages = decodeMessages(bytes);
      sends.push(messages.length - 1);
      last = messages.at(-1);
    },
    receive: () => {
      const { sequence = 0 } = last ?? {};
      const body = new MessageWriter().u32(0).u32(20).u32(0).u32(sequence).u32(0).finish();
      const bytes = encodeMessages([{ type: controlTypes.error, flags: 0x100, sequence, body }]);
      return { bytes, length: bytes.length, senderPort: 0 };
    },
    [Symbol.dispose]: () => {},
  };
  return { deleter: new LinkDeleter(() => transport, "/proc/self/ns/net", clock), sends };
}

async function pass(clock: ManualClock, ms: number) {
  await clock.advance(ms);
  for (let turn = 0; turn < 3; turn++) await setImmediate();
}

test("links of a crowd that ends are deleted together when none has come for a while", async () => {
  const clock = new ManualClock();
  const { deleter, sends } = deleterOf(clock);
  const leaving: Promise<void>[] = [];
  for (let index = 1; index <= 10; index++) {
    leaving.push(deleter.deleteSoon({ index, name: `veth${index}` }));
    await pass(clock, 40);
  }
  assert.deepEqual(sends, []);
  await pass(clock, 10);
  assert.deepEqual(sends, [10]);
  await Promise.all(leaving);
});

test("a crowd without an end has its links deleted every second", async () => {
  const clock = new ManualClock();
  const { deleter, sends } = deleterOf(clock);
  for (let index = 1; index <= 100; index++) {
    void deleter.deleteSoon({ index, name: `veth${index}` });
    await pass(clock, 25);
  }
  assert.deepEqual(sends, [40, 40]);
});
