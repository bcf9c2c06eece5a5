import { parseArgs } from "node:util";

/** What `npm start`, `npm run lab` and their kin understand; unknown flags end the program with the help text. */
export function readFlags<
  const T extends Readonly<Record<string, { readonly type: "string" | "boolean"; readonly help: string }>>,
>(usage: string, flags: T): { readonly [K in keyof T]: T[K]["type"] extends "boolean" ? boolean : string | undefined } {
  const help = [
    usage,
    "",
    ...Object.entries(flags).map(([name, flag]) => `  --${name.padEnd(10)} ${flag.help}`),
    "",
  ].join("\n");
  const known = Object.fromEntries(Object.entries(flags).map(([name, { type }]) => [name, { type }]));
  try {
    const parsed = parseArgs({
      options: { ...known, yes: { type: "boolean" }, help: { type: "boolean" } },
      allowPositionals: true,
    });
    const values: Readonly<Record<string, unknown>> = parsed.values;
    if (values["help"] === true) {
      console.log(help);
      process.exit(0);
    }
    const read = Object.entries(flags).map(([name, { type }]) => [
      name,
      type === "boolean" ? values[name] === true : values[name],
    ]);
    return Object.fromEntries(read) as ReturnType<typeof readFlags<T>>;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${help}`);
    process.exit(2);
  }
}

/** A whole number of at least 1, or the end of the program with what was found. */
export function positive(name: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  console.error(`--${name} must be a whole number of at least 1: found ${JSON.stringify(text)}`);
  process.exit(2);
}
