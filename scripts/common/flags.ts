import { parseArgs } from "node:util";
import { codeOf, formatError } from "#base";

interface Flag {
  readonly type: "string" | "boolean";
  readonly help: string;
  /** Placeholder for the value in the help. @default VALUE */
  readonly value?: string;
}

type Read<T extends Readonly<Record<string, Flag>>> = {
  readonly [K in keyof T]: T[K]["type"] extends "boolean" ? boolean : string | undefined;
} & {
  /** Arguments that are not flags, in order. */
  readonly words: readonly string[];
};

const always = {
  yes: { type: "boolean", help: "install missing packages without asking" },
  help: { type: "boolean", help: "print this" },
} as const satisfies Readonly<Record<string, Flag>>;

/**
 * Reads the flags of `npm start`, `npm run lab` and the like. Unknown flags end the program with the help text, and so do words,
 * unless it takes some. From here on a failure that is not a bug ends the program with a sentence, without a stack.
 */
export function readFlags<const T extends Readonly<Record<string, Flag>>>(
  usage: string,
  flags: T,
  { takesWords = false }: { readonly takesWords?: boolean } = {},
): Read<T> {
  process.on("uncaughtException", fail);
  const known: Readonly<Record<string, Flag>> = { ...flags, ...always };
  const help = helpText(usage, known);
  const refuse = (why: string) => {
    console.error(`${why}\n\n${help}`);
    return process.exit(2);
  };
  try {
    const options = Object.fromEntries(Object.entries(known).map(([name, { type }]) => [name, { type }]));
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (values["help"] === true) {
      console.log(help);
      process.exit(0);
    }
    if (!takesWords && positionals.length > 0) refuse(`'${positionals[0]}' means nothing here: only flags are taken.`);
    const read = Object.entries(flags).map(([name, { type }]) => [
      name,
      type === "boolean" ? values[name] === true : values[name],
    ]);
    return { ...Object.fromEntries(read), words: positionals } as Read<T>;
  } catch (error) {
    // Node's further sentences give advice about words that begin with a dash.
    return refuse(`${(error as Error).message.replace(/[.\n].*/s, "")}.`);
  }
}

function helpText(usage: string, flags: Readonly<Record<string, Flag>>): string {
  const left = Object.entries(flags).map(([name, { type, value = "VALUE" }]) =>
    type === "boolean" ? `--${name}` : `--${name} ${value}`,
  );
  const width = Math.max(...left.map(({ length }) => length));
  const lines = Object.values(flags).map(({ help }, at) => `  ${(left[at] ?? "").padEnd(width)}  ${help}`);
  return [usage, "", ...lines, ""].join("\n");
}

/** A whole number from 1 to `max`; otherwise ends the program and names the value found. */
export function positive(name: string, text: string | undefined, otherwise: number, max = Infinity): number {
  const value = text === undefined ? otherwise : Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  const allowed = max === Infinity ? "of at least 1" : `from 1 to ${max}`;
  console.error(`--${name} must be a whole number ${allowed}: found ${JSON.stringify(text)}`);
  process.exit(2);
}

/** Shows only the message of our own errors, system errors and failed programs; of others also the stack. */
function fail(error: Error): void {
  const isTold = codeOf(error) !== undefined || error.message.startsWith("Command failed");
  console.error(isTold || error.constructor === Error ? `✘ ${formatError(error)}` : error.stack);
  process.exit(1);
}
