import { stringify } from "yaml";
import { SpiderError } from "#base";

/** What `-o` takes, as for kubectl. */
export const outputFormats = ["table", "wide", "json", "yaml", "name"] as const;
/** One of {@link outputFormats}. */
export type OutputFormat = (typeof outputFormats)[number];

/** One column of a table, as in kubectl. */
interface Column<T> {
  readonly header: string;
  readonly value: (row: T) => string;
  /** Shown with `-o wide` only. */
  readonly wide?: true;
}

/** How rows of one kind are printed in every format. */
export interface Printer<T> {
  readonly columns: readonly Column<T>[];
  /** `kind.group/name`, as `kubectl -o name` prints it. */
  readonly name: (row: T) => string;
  /** The row as JSON and YAML show it. @default the row itself */
  readonly json?: (row: T) => unknown;
  /** Printed to standard error in place of an empty table. */
  readonly nothing: string;
}

/** Whether the text names an output format. */
export function isOutputFormat(text: string): text is OutputFormat {
  return outputFormats.some((one) => one === text);
}

/** Reads the value of `-o`. Throws OPTIONS_INVALID with the choices. */
export function parseOutputFormat(text: string): OutputFormat {
  if (isOutputFormat(text)) return text;
  throw new SpiderError(
    "OPTIONS_INVALID",
    `-o ${text}: unknown output format; allowed are ${outputFormats.join(", ")}`,
  );
}

/** Throws OPTIONS_INVALID for `-o name` of what is no object of the API. */
export function refuseName(format: OutputFormat): void {
  if (format !== "name") return;
  throw new SpiderError("OPTIONS_INVALID", "-o name: this has no name; allowed are table, wide, json, yaml");
}

/** The items as JSON or YAML, `{items: …}`; undefined for the other formats. */
export function formatItems(items: readonly unknown[], format: OutputFormat): string | undefined {
  return encode({ items }, format);
}

/**
 * One thing that is no object of the API, as JSON or YAML; undefined for tables. Throws OPTIONS_INVALID for `-o name`: it has
 * none.
 */
export function formatOne(thing: unknown, format: OutputFormat): string | undefined {
  refuseName(format);
  return encode(thing, format);
}

function encode(thing: unknown, format: OutputFormat): string | undefined {
  if (format === "json") return `${JSON.stringify(thing, undefined, 2)}\n`;
  return format === "yaml" ? stringify(thing) : undefined;
}

/** The rows as text ending in a newline; undefined if a table would have no rows. */
export function formatRows<T>(rows: readonly T[], printer: Printer<T>, format: OutputFormat): string | undefined {
  const { columns, name, json = (row) => row } = printer;
  switch (format) {
    case "json":
    case "yaml":
      return formatItems(rows.map(json), format);
    case "name":
      return rows.map((row) => `${name(row)}\n`).join("");
    case "table":
    case "wide": {
      if (rows.length === 0) return undefined;
      const shown = columns.filter(({ wide }) => format === "wide" || wide !== true);
      return formatTable([
        shown.map(({ header }) => header),
        ...rows.map((row) => shown.map(({ value }) => value(row))),
      ]);
    }
  }
}

/** Cells in columns, three blanks apart as in kubectl; the last column is not padded. */
export function formatTable(cells: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const line of cells) {
    for (const [at, cell] of line.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  }
  const lines = cells.map((line) =>
    line.map((cell, at) => (at === line.length - 1 ? cell : cell.padEnd((widths[at] ?? 0) + 3))).join(""),
  );
  return `${lines.join("\n")}\n`;
}

/** A duration in milliseconds as kubectl shows ages: its two largest units. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86_400)];
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return withRest(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  if (hours < 8) return withRest(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  if (days < 8) return withRest(days, "d", hours % 24, "h");
  return `${days}d`;
}

function withRest(amount: number, unit: string, rest: number, restUnit: string): string {
  return rest === 0 ? `${amount}${unit}` : `${amount}${unit}${rest}${restUnit}`;
}
