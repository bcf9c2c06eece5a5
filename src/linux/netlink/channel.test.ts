import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LinuxError } from "../errors.ts";
import { MessageWriter } from "./attributes.ts";
import { Channel, type Request, type Transport } from "./channel.ts";
import { controlTypes, decodeMessages, encodeMessages, flags, type Message } from "./message.ts";

interface Datagram {
  readonly messages: readonly Message[];
  readonly senderPort?: number;
}

/** Answers each send with what `answer` makes of its messages. */
function scripted(answer: (sent: readonly Message[], count: number) => readonly Datagram[]) {
  const queue: Datagram[] = [];
  const sends: (readonly Message[])[] = [];
  const transport: Transport = {
    send: (bytes) => {
      sends.push(decodeMessages(bytes));
      queue.push(...answer(decodeMessages(bytes), sends.length));
    },
    sendLater: async (bytes) => transport.send(bytes),
    receive: () => {
      const next = queue.shift();
      if (next === undefined) throw new LinuxError(11, "receive");
      const bytes = encodeMessages(next.messages);
      return { bytes, length: bytes.length, senderPort: next.senderPort ?? 0 };
    },
    [Symbol.dispose]: () => {},
  };
  return { channel: new Channel(transport), sends };
}

const request = (name: string): Request => ({ type: 20, flags: 0, body: new Uint8Array(4), attempted: () => name });

const asking = { ...request("find link"), asks: true } as const;

function outcome({ sequence }: Message, errno: number, over: Partial<Message> = {}): Message {
  const body = new MessageWriter().u32(-errno).u32(20).u32(0).u32(sequence).u32(0).finish();
  return { type: controlTypes.error, flags: 0x100, sequence, body, ...over };
}

function entry({ sequence }: Message, value: number, over: Partial<Message> = {}): Message {
  return { type: 16, flags: 2, sequence, body: Uint8Array.of(value, 0, 0, 0), ...over };
}

function done({ sequence }: Message, over: Partial<Message> = {}): Message {
  return { type: controlTypes.done, flags: 2, sequence, body: new Uint8Array(4), ...over };
}

describe("an exchange", () => {
  test("asks for one acknowledgement, the last, and gives each request its error and its answers", () => {
    const { channel, sends } = scripted(([a, b, c]) => {
      assert.ok(a && b && c);
      return [{ messages: [outcome(a, 17)] }, { messages: [entry(b, 5), outcome(c, 0)] }];
    });
    const replies = channel.exchange([request("add a"), request("get b"), request("add c")]);
    assert.deepEqual(
      replies.map(({ error, bodies }) => [error?.message, bodies.length]),
      [
        ["add a: File exists", 0],
        [undefined, 1],
        [undefined, 0],
      ],
    );
    assert.deepEqual(
      sends[0]?.map((message) => message.flags & flags.ack),
      [0, 0, flags.ack],
    );
  });

  test("passes over what another sender or an earlier request says", () => {
    const { channel } = scripted(([message]) => {
      assert.ok(message);
      const before = { ...message, sequence: (message.sequence - 1) >>> 0 };
      return [
        { messages: [outcome(message, 1)], senderPort: 4242 },
        { messages: [outcome(before, 3), outcome(message, 0)] },
      ];
    });
    assert.deepEqual(channel.exchange([request("set")]), [{ error: undefined, bodies: [] }]);
  });

  test("makes no error of a tolerated code", () => {
    const { channel } = scripted(([a, b]) => {
      assert.ok(a && b);
      return [{ messages: [outcome(a, 17), outcome(b, 17)] }];
    });
    const replies = channel.exchange([{ ...request("add a"), tolerate: ["EEXIST"] }, request("add b")]);
    assert.deepEqual(
      replies.map(({ error }) => error?.code),
      [undefined, "EEXIST"],
    );
  });

  test("ends with the answer of a last request that asks, or with its refusal", () => {
    for (const refused of [0, 19]) {
      const { channel, sends } = scripted(([make, look]) => {
        assert.ok(make && look);
        return [
          { messages: [outcome(make, 17)] },
          { messages: [refused === 0 ? entry(look, 5) : outcome(look, refused)] },
        ];
      });
      const replies = channel.exchange([request("make"), { ...request("look"), asks: true }]);
      assert.deepEqual(
        replies.map(({ error, bodies }) => [error?.code, bodies.length]),
        [["EEXIST", 0], refused === 0 ? [undefined, 1] : ["ENODEV", 0]],
      );
      assert.deepEqual(
        sends.flat().map((sent) => sent.flags & flags.ack),
        [0, 0],
      );
    }
  });

  test("for one object asks for its answer alone", () => {
    const { channel, sends } = scripted(([message], count) => {
      assert.ok(message);
      const before = { ...message, sequence: (message.sequence - 1) >>> 0 };
      const answer = count === 1 ? entry(message, 5) : outcome(message, 19);
      return [{ messages: [outcome(before, 3), entry(before, 4), answer] }];
    });
    assert.deepEqual([...(channel.get(asking) ?? [])], [5, 0, 0, 0]);
    assert.throws(() => channel.get(asking), { code: "ENODEV", message: /find link/ });
    assert.equal(channel.get({ ...asking, tolerate: ["ENODEV"] }), undefined);
    assert.deepEqual(
      sends.flat().map((sent) => sent.flags & flags.ack),
      [0, 0, 0],
    );
  });

  test("that gets no answer in time fails with what was attempted", () => {
    const { channel } = scripted(() => []);
    assert.throws(() => channel.get(asking), { code: "EAGAIN", message: /find link/ });
  });

  test("of nothing sends nothing", () => {
    const { channel, sends } = scripted(() => []);
    assert.deepEqual([channel.exchange([]), sends.length], [[], 0]);
  });
});

describe("a dump", () => {
  test("collects entries from several datagrams up to its end", () => {
    const { channel } = scripted(([message]) => {
      assert.ok(message);
      return [{ messages: [entry(message, 1), entry(message, 2)] }, { messages: [entry(message, 3), done(message)] }];
    });
    assert.deepEqual(
      channel.dump(request("list")).map(([first]) => first),
      [1, 2, 3],
    );
  });

  test("starts again when it was interrupted, and gives up when that never ends", () => {
    const interrupted = { flags: flags.multi | flags.dumpInterrupted };
    const twice = scripted(([message], count) => {
      assert.ok(message);
      return [{ messages: [entry(message, count), done(message, count < 3 ? interrupted : {})] }];
    });
    assert.deepEqual(
      twice.channel.dump(request("list")).map(([first]) => first),
      [3],
    );
    const always = scripted(([message]) => {
      assert.ok(message);
      return [{ messages: [done(message, interrupted)] }];
    });
    assert.throws(() => always.channel.dump(request("list")), { code: "NETLINK_DUMP_INTERRUPTED" });
    assert.equal(always.sends.length, 16);
  });

  test("throws the error at its end", () => {
    const { channel } = scripted(([message]) => {
      assert.ok(message);
      return [{ messages: [done(message, { body: new MessageWriter().u32(-2).finish() })] }];
    });
    assert.throws(() => channel.dump(request("list rules")), { message: "list rules: No such file or directory" });
  });
});

describe("a transaction", () => {
  test("ends at the acknowledgement of its last request, not of the closing message", () => {
    const { channel } = scripted(([, a, b]) => {
      assert.ok(a && b);
      return [{ messages: [outcome(a, 2), outcome(b, 0)] }];
    });
    const replies = channel.transact(request("open"), [request("a"), request("b")], request("close"));
    assert.deepEqual(
      replies.map(({ error }) => error?.code),
      [undefined, "ENOENT", undefined, undefined],
    );
  });

  test("ends at once where the opening message was refused", () => {
    const { channel } = scripted(([open]) => {
      assert.ok(open);
      return [{ messages: [outcome(open, 95)] }];
    });
    const [open] = channel.transact(request("open"), [request("a")], request("close"));
    assert.equal(open?.error?.code, "EOPNOTSUPP");
  });
});
