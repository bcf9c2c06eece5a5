import type { MessageWriter } from "../netlink/attributes.ts";

/** One expression of a rule: it works on the first 128-bit register. */
export type Expression = (rule: MessageWriter) => void;

/** Attributes and numbers of <linux/netfilter/nf_tables.h>. */
const exprName = 1;
const exprData = 2;
const listElement = 1;
const dataValue = 1;
const register = 1;
const metaKeys = { mark: 3, iifname: 6 } as const;
const ctKeys = { state: 0, mark: 3 } as const;
const ops = { equal: 0, notEqual: 1 } as const;
/** NF_CT_STATE_BIT(IP_CT_NEW) */
const stateNew = 1 << 3;
const nameBytes = 16;

function expression(name: string, build: (data: MessageWriter) => void): Expression {
  return (rule) => void rule.nest(listElement, (element) => element.putText(exprName, name).nest(exprData, build));
}

/** Marks and states are in the machine's order, unlike everything else in nf_tables. */
function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

function compare(op: keyof typeof ops, value: Uint8Array): Expression {
  return expression("cmp", (data) => {
    data.putU32be(1, register).putU32be(2, ops[op]);
    data.nest(3, (nested) => nested.putBytes(dataValue, value));
  });
}

/** register = (register & mask) ^ xor */
function bitwise(mask: number, xor: number): Expression {
  return expression("bitwise", (data) => {
    data.putU32be(1, register).putU32be(2, register).putU32be(3, 4);
    data.nest(4, (nested) => nested.putBytes(dataValue, u32(mask)));
    data.nest(5, (nested) => nested.putBytes(dataValue, u32(xor)));
  });
}

const load = {
  meta: (key: number) => expression("meta", (data) => void data.putU32be(1, register).putU32be(2, key)),
  ct: (key: number) => expression("ct", (data) => void data.putU32be(1, register).putU32be(2, key)),
} as const;
const store = {
  meta: expression("meta", (data) => void data.putU32be(2, metaKeys.mark).putU32be(3, register)),
  ct: expression("ct", (data) => void data.putU32be(2, ctKeys.mark).putU32be(4, register)),
} as const;
const markKeys = { meta: metaKeys.mark, ct: ctKeys.mark } as const;

/** `iifname "…"` */
export function fromInterface(name: string): readonly Expression[] {
  const padded = Buffer.alloc(nameBytes);
  padded.write(name, 0, nameBytes - 1);
  return [load.meta(metaKeys.iifname), compare("equal", padded)];
}

/** `ct state new` */
export const connectionIsNew: readonly Expression[] = [
  load.ct(ctKeys.state),
  bitwise(stateNew, 0),
  compare("notEqual", u32(0)),
];

/** `meta mark & bits == bits`, or the same of `ct mark`. */
export function hasMark(of: "meta" | "ct", bits: number): readonly Expression[] {
  return [load[of](markKeys[of]), bitwise(bits, 0), compare("equal", u32(bits))];
}

/** `meta mark set meta mark | bits`, or the same of `ct mark`: other bits of the mark stay. */
export function addMark(to: "meta" | "ct", bits: number): readonly Expression[] {
  return [load[to](markKeys[to]), bitwise(~bits, bits), store[to]];
}
