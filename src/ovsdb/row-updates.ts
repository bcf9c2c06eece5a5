import { decodeMap, decodeSet, encodeMap, encodeSet } from "./values.ts";

/**
 * The columns that the picture is made of, in the form of a `monitor_cond` request (ovsdb-server(7) §4.1.12; Open vSwitch 2.6
 * and later). RFC 7047's `monitor` tells a row that changed as a whole, before and after: with each port that comes or goes,
 * twice the names of all ports of its bridge.
 */
export const monitored = {
  Bridge: [{ columns: ["name", "ports", "datapath_type", "mirrors"] }],
  Port: [{ columns: ["name", "interfaces", "tag", "trunks", "vlan_mode", "external_ids"] }],
  Interface: [{ columns: ["name", "type", "ofport", "error", "external_ids"] }],
  Mirror: [{ columns: ["name", "select_src_port", "select_dst_port", "output_port", "external_ids"] }],
} as const;

/** A table that is watched. */
export type Table = keyof typeof monitored;
type Column = (typeof monitored)[Table][number]["columns"][number];

/** Columns with their values in the notation of RFC 7047 §5.1. A row leaves out those that have their default. */
export type Row = { readonly [C in Column]?: unknown };

/** Columns that hold more than one element; a change tells of them only what came and what went. */
const sets: ReadonlySet<string> = new Set<Column>([
  ...(["ports", "mirrors", "interfaces", "trunks"] as const),
  ...(["select_src_port", "select_dst_port"] as const),
]);
const maps: ReadonlySet<string> = new Set<Column>(["external_ids"]);

/** What became of a row: it is there as a whole, some of it changed, or it is gone. */
export type RowUpdate = { readonly whole: Row } | { readonly change: Row } | "gone";

/** Reads a `row-update2` (ovsdb-server(7) §4.1.14); a malformed row has no columns. */
export function decodeRowUpdate(update: unknown): RowUpdate {
  const { initial, insert, modify } = asObject<{ initial?: unknown; insert?: unknown; modify?: unknown }>(update);
  if (modify !== undefined && modify !== null) return { change: asObject<Row>(modify) };
  const whole = initial ?? insert;
  return whole === undefined || whole === null ? "gone" : { whole: asObject<Row>(whole) };
}

/** The row after an update; undefined if it is gone. */
export function rowAfter(before: Row | undefined, update: RowUpdate): Row | undefined {
  if (update === "gone") return undefined;
  if ("whole" in update) return update.whole;
  const row: Record<string, unknown> = { ...before };
  for (const [column, change] of Object.entries(update.change)) {
    if (sets.has(column)) row[column] = encodeSet(toggled(decodeSet(row[column]), decodeSet(change)));
    else if (maps.has(column)) row[column] = mapAfter(row[column], change);
    else row[column] = change;
  }
  return row;
}

/** The symmetric difference: the change of a set has what is only in one of both. */
function toggled(before: readonly unknown[], change: readonly unknown[]): readonly unknown[] {
  const elements = new Map(before.map((element) => [JSON.stringify(element), element]));
  for (const element of change) {
    const key = JSON.stringify(element);
    if (!elements.delete(key)) elements.set(key, element);
  }
  return [...elements.values()];
}

/** The change of a map has the pairs that went, as they were, and those that are new or have a new value. */
function mapAfter(before: unknown, change: unknown): unknown {
  const pairs = new Map(decodeMap(before));
  for (const [key, value] of decodeMap(change)) {
    if (pairs.get(key) === value) pairs.delete(key);
    else pairs.set(key, value);
  }
  return encodeMap(Object.fromEntries(pairs));
}

/** Reads anything but an object as an empty one. */
export function asObject<T extends object>(value: unknown): Partial<T> {
  return typeof value === "object" && value !== null ? value : {};
}
