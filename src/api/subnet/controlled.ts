import * as v from "valibot";
import type { ControlledIPPools } from "./types.ts";

const controlled = v.record(v.string(), v.object({ ips: v.array(v.string()), application: v.optional(v.string()) }));

/** `status.controlledIPPools` decoded, empty where it is absent; undefined where it is not what we write. */
export function parseControlledIPPools(text = "{}"): ControlledIPPools | undefined {
  try {
    return v.parse(controlled, JSON.parse(text)) as ControlledIPPools;
  } catch {
    return undefined;
  }
}
