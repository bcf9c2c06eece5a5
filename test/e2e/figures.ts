import { appendFileSync } from "node:fs";

/** Notes a figure of this run: `npm run e2e` prints all at its end, and keeps them with `--json`. Numbers to two decimals. */
export function figure(name: string, value: number | Readonly<Record<string, number>>): void {
  const rounded = (number: number) => Math.round(number * 100) / 100;
  const shown =
    typeof value === "number"
      ? rounded(value)
      : Object.fromEntries(Object.entries(value).map(([key, number]) => [key, rounded(number)]));
  const file = process.env["E2E_FIGURES"];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify([name, shown])}\n`);
}
