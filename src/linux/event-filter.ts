import { types } from "./rtnl/request.ts";

/** `struct sock_filter` of <linux/filter.h>: opcode, the two jumps, and the operand. */
type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, operand: number];

/** Opcodes of classic BPF. What is loaded is taken for big-endian. */
const loadHalf = 0x28;
const loadByte = 0x30;
const jumpIfEqual = 0x15;
const jumpIfSet = 0x45;
const giveBack = 0x06;
const nothing = 0;
const everything = 0xffff_ffff;
/** In `struct nlmsghdr`. */
const typeAt = 4;
/** The first byte of the flags in the `struct ifinfomsg` that follows it. */
const linkFlagsAt = 16 + 8;
const iffUp = 1;
const instructionBytes = 8;

/**
 * A program for SO_ATTACH_FILTER that passes only notifications of these message types and, on request, only of links that are
 * down. Others never wake the reader.
 */
export function eventFilter(passing: readonly number[], { downLinks }: { readonly downLinks: boolean }): Uint8Array {
  const program: Instruction[] = [[loadHalf, 0, 0, typeAt]];
  const is = (type: number): number => ((type & 0xff) << 8) | (type >> 8);
  for (const type of passing) program.push([jumpIfEqual, 0, 1, is(type)], [giveBack, 0, 0, everything]);
  if (downLinks) {
    program.push([jumpIfEqual, 0, 3, is(types.newLink)], [loadByte, 0, 0, linkFlagsAt], [jumpIfSet, 1, 0, iffUp]);
    program.push([giveBack, 0, 0, everything]);
  }
  program.push([giveBack, 0, 0, nothing]);
  const bytes = Buffer.from(new ArrayBuffer(instructionBytes * program.length));
  for (const [at, [code, jumpTrue, jumpFalse, operand]] of program.entries()) {
    bytes.writeUInt16LE(code, instructionBytes * at);
    bytes.writeUInt8(jumpTrue, instructionBytes * at + 2);
    bytes.writeUInt8(jumpFalse, instructionBytes * at + 3);
    bytes.writeUInt32LE(operand, instructionBytes * at + 4);
  }
  return bytes;
}
