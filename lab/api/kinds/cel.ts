import { isIP } from "node:net";
import { Environment } from "@marcbachmann/cel-js";
import type { FieldError } from "../failure.ts";

/** One of a schema's `x-kubernetes-validations`. */
export interface Rule {
  readonly rule: string;
  readonly message?: string;
  readonly messageExpression?: string;
  readonly reason?: FieldError["reason"];
}

/** Checks a value against a rule; `old` is undefined if there was none. Returns what is wrong, in the API server's words. */
export type RuleCheck = (self: unknown, old: unknown, path: string) => FieldError | undefined;

/** The types for addresses and prefixes of Kubernetes' CEL library. */
class Ip {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
class Cidr {
  readonly address: bigint;
  readonly bits: bigint;
  readonly length: number;
  readonly text: string;
  constructor(text: string) {
    const [address = "", length = ""] = text.split("/");
    this.text = text;
    this.bits = BigInt(isIP(address) === 6 ? 128 : 32);
    this.length = Number(length);
    this.address = numberOf(address);
  }
  get size(): bigint {
    return 1n << (this.bits - BigInt(this.length));
  }
  holds(address: string): boolean {
    const bits = BigInt(isIP(address) === 6 ? 128 : 32);
    return bits === this.bits && numberOf(address) / this.size === this.address / this.size;
  }
}

const environment = new Environment({ unlistedVariablesAreDyn: true, homogeneousAggregateLiterals: false })
  .registerType("kubernetes.IP", Ip)
  .registerType("kubernetes.CIDR", Cidr)
  .registerFunction("isIP(dyn): bool", (text: unknown) => typeof text === "string" && isIP(text) > 0)
  .registerFunction("isCIDR(dyn): bool", isCidr)
  .registerFunction("ip(dyn): kubernetes.IP", (text: string) => new Ip(text))
  .registerFunction("cidr(dyn): kubernetes.CIDR", (text: string) => new Cidr(text))
  .registerFunction("kubernetes.IP.family(): int", ({ text }: Ip) => BigInt(isIP(text)))
  .registerFunction("kubernetes.CIDR.containsIP(dyn): bool", (cidr: Cidr, address: string) => cidr.holds(address))
  .registerFunction("kubernetes.CIDR.masked(): kubernetes.CIDR", masked)
  .registerFunction("string(kubernetes.CIDR): string", ({ text }: Cidr) => text)
  .registerFunction("string.replace(string, string): string", (text: string, from: string, to: string) =>
    text.replaceAll(from, to),
  );

/** Compiles a rule. Throws the parser's error if the rule is malformed. */
export function compileRule({ rule, message, messageExpression, reason = "FieldValueInvalid" }: Rule): RuleCheck {
  const holds = environment.parse(rule);
  const words = messageExpression === undefined ? undefined : environment.parse(messageExpression);
  const isTransition = /\boldSelf\b/.test(rule);
  return (self, old, path) => {
    if (isTransition && old === undefined) return undefined;
    const context = { self: celValue(self), ...(old !== undefined && { oldSelf: celValue(old) }) };
    if (holds(context) === true) return undefined;
    const said = words === undefined ? (message ?? `failed rule: ${rule}`) : String(words(context));
    return { field: path, reason, message: `Invalid value: ${said}` };
  };
}

/** Converts JSON for CEL, where whole numbers are `int`. */
function celValue(value: unknown): unknown {
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(celValue);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, celValue(inner)]));
}

function isCidr(text: unknown): boolean {
  if (typeof text !== "string") return false;
  const [, address = "", length = ""] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const version = isIP(address);
  return version > 0 && Number(length) <= (version === 6 ? 128 : 32);
}

function masked({ address, size, bits, length, text }: Cidr): Cidr {
  const first = address - (address % size);
  return first === address ? new Cidr(text) : new Cidr(`${textOf(first, bits)}/${length}`);
}

function numberOf(address: string): bigint {
  if (isIP(address) === 4) return address.split(".").reduce((sum, part) => (sum << 8n) + BigInt(part), 0n);
  const [head = "", tail = ""] = address.split("::");
  const groups = (text: string) => text.split(":").filter(Boolean);
  const missing = 8 - groups(head).length - groups(tail).length;
  const all = [
    ...groups(head),
    ...Array.from({ length: address.includes("::") ? missing : 0 }, () => "0"),
    ...groups(tail),
  ];
  return all.reduce((sum, group) => (sum << 16n) + BigInt(`0x${group}`), 0n);
}

/** The spelling need not be that of Kubernetes, as long as it differs from a wrong one: rules only compare it. */
function textOf(value: bigint, bits: bigint): string {
  const step = bits === 32n ? 8n : 16n;
  const parts = Array.from(
    { length: bits === 32n ? 4 : 8 },
    (_, index) => (value >> (bits - step * BigInt(index + 1))) & ((1n << step) - 1n),
  );
  return bits === 32n ? parts.join(".") : parts.map((part) => part.toString(16)).join(":");
}
