import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LinuxError } from "../errors.ts";
import { MessageWriter } from "../netlink/attributes.ts";
import type { Transport } from "../netlink/channel.ts";
import { controlTypes, decodeMessages, encodeMessages } from "../netlink/message.ts";
import type { Netns } from "../netns.ts";
import { ensureReplyMarks, hasReplyMarks } from "./reply-marks.ts";

const path = "/run/netns/pod";
const [protocolNotSupported, notSupported, notPermitted] = [93, 95, 1];

/** A namespace whose kernel has no netlink for filters. */
const withoutNetlink = namespace(() => {
  throw new LinuxError(protocolNotSupported, "open a netlink socket");
});

/** A kernel that refuses each message, as one does that has netlink for filters but not what the message is for. */
function refusing(errno: number): Netns {
  return namespace(() => {
    const queue: Uint8Array[] = [];
    const transport: Transport = {
      send: (bytes) => {
        for (const { sequence } of decodeMessages(bytes)) {
          const body = new MessageWriter().u32(-errno).u32(20).u32(0).u32(sequence).u32(0).finish();
          queue.push(encodeMessages([{ type: controlTypes.error, flags: 0, sequence, body }]));
        }
      },
      sendLater: async (bytes) => transport.send(bytes),
      receive: () => {
        const bytes = queue.shift() ?? assert.fail("nothing was asked");
        return { bytes, length: bytes.length, senderPort: 0 };
      },
      [Symbol.dispose]: () => {},
    };
    return transport;
  });
}

function namespace(open: () => Transport): Netns {
  return { path, enter: open } as Partial<Netns> as Netns;
}

describe("reply marks where the kernel cannot have them", () => {
  for (const [what, netns] of [
    ["no netlink for filters", withoutNetlink],
    ["no nf_tables, or no connection tracking in it", refusing(notSupported)],
  ] as const) {
    test(`are refused as what the kernel lacks: ${what}`, () => {
      for (const ask of [ensureReplyMarks, hasReplyMarks]) {
        assert.throws(
          () => ask(netns, "veth0", 1),
          ({ code, message, details, cause }) => {
            assert.equal(code, "NF_TABLES_MISSING");
            assert.match(message, /the kernel lacks nf_tables/);
            assert.deepEqual(details["netns"], path);
            return cause instanceof LinuxError;
          },
        );
      }
    });
  }

  test("fail as themselves for any other reason", () => {
    assert.throws(() => ensureReplyMarks(refusing(notPermitted), "veth0", 1), { code: "EPERM" });
  });
});
