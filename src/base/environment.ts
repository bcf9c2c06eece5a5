import { isIP } from "node:net";
import { SpiderError } from "./errors.ts";
import { type LogLevel, logLevels } from "./log.ts";

/**
 * A program's environment: reads variables one by one, trimmed, and gathers everything that is wrong with them and with the
 * flags beside them, so that whoever set them is told all of it at once.
 */
export class Environment {
  /** What is wrong, a clause each; readers of flags add to it. */
  readonly wrong: string[] = [];
  readonly #env: Readonly<Record<string, string | undefined>>;

  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#env = env;
  }

  /** "" where it is not set. */
  text(name: string): string {
    return (this.#env[name] ?? "").trim();
  }

  needed(name: string): string {
    const value = this.text(name);
    if (value === "") this.wrong.push(`${name} is not set`);
    return value;
  }

  /** Also in the words of Go's strconv.ParseBool: 1, t, 0, f. */
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

  /** A JSON object; undefined where it is not set. */
  json(name: string): object | undefined {
    const value = this.text(name);
    if (value === "") return undefined;
    const parsed = parseOrUndefined(value);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return parsed;
    this.wrong.push(`${name} is ${JSON.stringify(value)}, a JSON object is needed`);
    return undefined;
  }

  /** A flag's value, else the variable's, else `otherwise`. 0: any free port. */
  port<T extends number | undefined>(name: string, otherwise: T, flag?: string): number | T {
    const value = flag ?? this.text(name);
    if (value === "") return otherwise;
    const number = Number(value);
    if (Number.isInteger(number) && number >= 0 && number < 65_536) return number;
    this.wrong.push(`${name} or its flag is ${JSON.stringify(value)}, a port is needed`);
    return otherwise;
  }

  /** An IP address: a flag's, else the variable's; undefined where neither is set. */
  address(name: string, flag?: string): string | undefined {
    const value = flag ?? this.text(name);
    if (value === "") return undefined;
    if (isIP(value) === 0) this.wrong.push(`${name} is ${JSON.stringify(value)}, an IP address is needed`);
    return value;
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

  /** Throws OPTIONS_INVALID naming everything that is wrong. */
  check(): void {
    if (this.wrong.length > 0) throw new SpiderError("OPTIONS_INVALID", `cannot start: ${this.wrong.join("; ")}`);
  }
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
