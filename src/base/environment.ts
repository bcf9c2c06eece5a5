import { isIP } from "node:net";
import { SpiderError } from "./errors.ts";
import { isJsonObject } from "./json.ts";
import { type LogLevel, logLevels } from "./log.ts";

/**
 * Reads a program's environment variables, trimmed, and collects all mistakes in them and in its flags, so that the user sees
 * all at once.
 */
export class Environment {
  /** The mistakes, one clause each. Code that reads flags adds to it. */
  readonly wrong: string[] = [];
  readonly #env: Readonly<Record<string, string | undefined>>;

  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#env = env;
  }

  /** The value; "" if it is not set. */
  text(name: string): string {
    return (this.#env[name] ?? "").trim();
  }

  needed(name: string): string {
    const value = this.text(name);
    if (value === "") this.wrong.push(`${name} is not set`);
    return value;
  }

  /** A boolean, in any spelling that Go's strconv.ParseBool accepts: true, 1, t, false, 0, f. */
  flag(name: string, otherwise: boolean): boolean {
    const value = this.text(name);
    if (value === "") return otherwise;
    if (/^(true|1|t)$/i.test(value)) return true;
    if (/^(false|0|f)$/i.test(value)) return false;
    this.wrong.push(`${name} is ${JSON.stringify(value)}, allowed are true and false`);
    return otherwise;
  }

  integer(name: string, otherwise: number, { min, max }: { readonly min: number; readonly max: number }): number {
    const value = this.text(name);
    const number = value === "" ? otherwise : Number(value);
    if (Number.isInteger(number) && number >= min && number <= max) return number;
    this.wrong.push(`${name} is ${JSON.stringify(value)}, allowed are ${min} to ${max}`);
    return otherwise;
  }

  /** A JSON object; undefined if it is not set. */
  json(name: string): object | undefined {
    const value = this.text(name);
    if (value === "") return undefined;
    const parsed = parseOrUndefined(value);
    if (isJsonObject(parsed)) return parsed;
    this.wrong.push(`${name} is ${JSON.stringify(value)}, a JSON object is needed`);
    return undefined;
  }

  /** A port: the flag's value, else the variable's, else `otherwise`. 0: any free port. */
  port<T extends number | undefined>(name: string, otherwise: T, flag?: string): number | T {
    const value = flag ?? this.text(name);
    if (value === "") return otherwise;
    const number = Number(value);
    if (Number.isInteger(number) && number >= 0 && number < 65_536) return number;
    this.wrong.push(`${name} or its flag is ${JSON.stringify(value)}, a port is needed`);
    return otherwise;
  }

  /** An IP address: the flag's value, else the variable's; undefined if neither is set. */
  address(name: string, flag?: string): string | undefined {
    const value = flag ?? this.text(name);
    if (value === "") return undefined;
    if (isIP(value) === 0) this.wrong.push(`${name} is ${JSON.stringify(value)}, an IP address is needed`);
    return value;
  }

  /** Those of these variables that are set, to something else than false. */
  set(names: readonly string[]): readonly string[] {
    return names.filter((name) => !/^(false|0|f|)$/i.test(this.text(name)));
  }

  /** SPIDERPOOL_LOG_LEVEL. */
  logLevel(): LogLevel {
    const value = this.text("SPIDERPOOL_LOG_LEVEL") || "info";
    const level = logLevels.find((one) => one === value);
    if (level === undefined) {
      this.wrong.push(`SPIDERPOOL_LOG_LEVEL is ${JSON.stringify(value)}, allowed are ${logLevels.join(", ")}`);
    }
    return level ?? "info";
  }

  /** Throws OPTIONS_INVALID naming all mistakes, if there are any. */
  check(): void {
    if (this.wrong.length > 0) throw new SpiderError("OPTIONS_INVALID", `cannot start: ${this.wrong.join("; ")}`);
  }
}

/**
 * Throws OPTIONS_INVALID for a command that a program does not have: it must not run as if it were another one. Flags alone are the
 * program's usual command.
 */
export function checkCommand([command = ""]: readonly string[], allowed: readonly string[]): void {
  if (command === "" || command.startsWith("-") || allowed.includes(command)) return;
  const found = JSON.stringify(command);
  throw new SpiderError("OPTIONS_INVALID", `cannot start: the command is ${found}, allowed are ${allowed.join(", ")}`);
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
