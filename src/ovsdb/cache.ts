import { type BridgeInfo, type OvsMirror, type OvsPort, type PortOwner, portOwnerTag, type Vlan } from "./types.ts";
import { decodeInteger, decodeMap, decodeOptional, decodeSet, decodeText, decodeUuids } from "./values.ts";

/** The columns that the picture is made of, in the form of a `monitor` request (RFC 7047 §4.1.5). */
export const monitoredColumns = {
  Bridge: { columns: ["name", "ports", "datapath_type", "mirrors"] },
  Port: { columns: ["name", "interfaces", "tag", "trunks", "vlan_mode", "external_ids"] },
  Interface: { columns: ["name", "type", "ofport", "error", "external_ids"] },
  Mirror: { columns: ["name", "select_src_port", "select_dst_port", "output_port", "external_ids"] },
} as const;

type Column = (typeof monitoredColumns)[keyof typeof monitoredColumns]["columns"][number];
type Row = { readonly [C in Column]?: unknown };
interface Bridge {
  readonly name: string;
  readonly datapathType: string;
  readonly ports: Set<string>;
  readonly mirrors: readonly string[];
}
interface Port {
  readonly name: string;
  /** UUID of its (first) interface. */
  readonly device: string;
  readonly row: Row;
}

/**
 * The picture of bridges and ports that a monitor keeps true. An update costs what it touches; the two maps are built
 * when they are asked for and kept until the next update.
 */
export class Cache {
  readonly #bridges = new Map<string, Bridge>();
  readonly #ports = new Map<string, Port>();
  readonly #interfaces = new Map<string, Row>();
  readonly #mirrors = new Map<string, Row>();
  readonly #bridgeOfPort = new Map<string, string>();
  readonly #portByName = new Map<string, string>();
  /** Decoded ports by UUID: most stay as they are from update to update. */
  readonly #decoded = new Map<string, OvsPort>();
  readonly #portOfInterface = new Map<string, string>();
  #portsView: ReadonlyMap<string, OvsPort> | undefined;
  #bridgesView: ReadonlyMap<string, BridgeInfo> | undefined;

  /** Takes the `table-updates` of RFC 7047 §4.1.6: `new` is the whole row, absent if it was deleted. */
  apply(updates: unknown): void {
    const tables = asObject<{ readonly [T in keyof typeof monitoredColumns]?: unknown }>(updates);
    for (const [uuid, row] of rowsOf(tables.Bridge)) this.#setBridge(uuid, row);
    for (const [uuid, row] of rowsOf(tables.Port)) this.#setPort(uuid, row);
    for (const [uuid, row] of rowsOf(tables.Mirror)) setRow(this.#mirrors, uuid, row);
    for (const [uuid, row] of rowsOf(tables.Interface)) {
      setRow(this.#interfaces, uuid, row);
      this.#decoded.delete(this.#portOfInterface.get(uuid) ?? "");
    }
    this.#portsView = undefined;
    this.#bridgesView = undefined;
  }

  /** The port of this name, if a bridge holds it. */
  port(name: string): OvsPort | undefined {
    const uuid = this.#portByName.get(name);
    return uuid === undefined ? undefined : this.#portAt(uuid);
  }

  hasBridge(name: string): boolean {
    return this.#bridges.values().some((bridge) => bridge.name === name);
  }

  ports(): ReadonlyMap<string, OvsPort> {
    this.#portsView ??= new Map(
      [...this.#portByName].flatMap(([name, uuid]) => {
        const port = this.#portAt(uuid);
        return port === undefined ? [] : [[name, port]];
      }),
    );
    return this.#portsView;
  }

  get portCount(): number {
    return this.#portByName.size;
  }

  bridges(): ReadonlyMap<string, BridgeInfo> {
    this.#bridgesView ??= new Map(
      [...this.#bridges.values()].map(({ name, datapathType, ports }) => {
        const names = () => [...ports].flatMap((uuid) => this.#ports.get(uuid)?.name ?? []).sort();
        // Each ADD asks for a bridge's type, and only the doctor for its ports: hundreds, which every ADD changes.
        return [
          name,
          {
            name,
            datapathType,
            get ports() {
              return names();
            },
          },
        ];
      }),
    );
    return this.#bridgesView;
  }

  /** Few, and asked for rarely. */
  mirrors(): readonly OvsMirror[] {
    const names = (ports: readonly string[]) => ports.flatMap((uuid) => this.#ports.get(uuid)?.name ?? []);
    return [...this.#bridges.values()].flatMap(({ name: bridge, mirrors }) =>
      mirrors.flatMap((uuid): readonly OvsMirror[] => {
        const row = this.#mirrors.get(uuid);
        if (row === undefined) return [];
        return [
          {
            uuid,
            name: decodeText(row.name) ?? "",
            bridge,
            owned: decodeMap(row.external_ids).get("owner") === portOwnerTag,
            sources: names(decodeUuids(row.select_src_port)),
            destinations: names(decodeUuids(row.select_dst_port)),
            output: names(decodeUuids(row.output_port))[0],
          },
        ];
      }),
    );
  }

  #setBridge(uuid: string, row: Row | undefined): void {
    const before = this.#bridges.get(uuid);
    const had = before?.ports ?? noPorts;
    const has = row === undefined ? noPorts : new Set(decodeUuids(row.ports));
    for (const port of had.difference(has)) {
      this.#decoded.delete(port);
      // A port may have moved to a bridge that is earlier in the same update.
      if (this.#bridgeOfPort.get(port) === before?.name) this.#bridgeOfPort.delete(port);
    }
    if (row === undefined) {
      this.#bridges.delete(uuid);
      return;
    }
    const name = decodeText(row.name) ?? "";
    // An empty datapath_type means the default, which is the kernel's.
    const datapathType = decodeText(row.datapath_type) || "system";
    this.#bridges.set(uuid, { name, datapathType, ports: has, mirrors: decodeUuids(row.mirrors) });
    for (const port of before?.name === name ? has.difference(had) : has) {
      this.#decoded.delete(port);
      this.#bridgeOfPort.set(port, name);
    }
  }

  #setPort(uuid: string, row: Row | undefined): void {
    this.#decoded.delete(uuid);
    const before = this.#ports.get(uuid);
    if (before !== undefined && this.#portByName.get(before.name) === uuid) this.#portByName.delete(before.name);
    if (before !== undefined) this.#portOfInterface.delete(before.device);
    if (row === undefined) {
      this.#ports.delete(uuid);
      return;
    }
    const port = { name: decodeText(row.name) ?? "", device: decodeUuids(row.interfaces)[0] ?? "", row };
    this.#ports.set(uuid, port);
    this.#portByName.set(port.name, uuid);
    this.#portOfInterface.set(port.device, uuid);
  }

  #portAt(uuid: string): OvsPort | undefined {
    const known = this.#decoded.get(uuid);
    if (known !== undefined) return known;
    const port = this.#decode(uuid);
    if (port !== undefined) this.#decoded.set(uuid, port);
    return port;
  }

  #decode(uuid: string): OvsPort | undefined {
    const port = this.#ports.get(uuid);
    const bridge = this.#bridgeOfPort.get(uuid);
    if (port === undefined || bridge === undefined) return undefined;
    const { name, row } = port;
    const device = this.#interfaces.get(port.device) ?? {};
    return {
      ...{ uuid, name, bridge },
      vlan: vlanOf(row),
      owner: ownerOf(decodeMap(row.external_ids)),
      ofport: decodeOptional(device.ofport, decodeInteger),
      error: decodeOptional(device.error, decodeText),
      interfaceType: decodeText(device.type) || "system",
      ifaceId: decodeMap(device.external_ids).get("iface-id"),
    };
  }
}

const noPorts = new Set<string>();

function setRow(rows: Map<string, Row>, uuid: string, row: Row | undefined): void {
  if (row === undefined) rows.delete(uuid);
  else rows.set(uuid, row);
}

/** Without a vlan_mode a port with a tag is an access port, and any other a trunk (ovs-vswitchd.conf.db(5)). */
function vlanOf(row: Row): Vlan {
  const tag = decodeOptional(row.tag, decodeInteger);
  const mode = decodeOptional(row.vlan_mode, decodeText) ?? (tag === undefined ? "trunk" : "access");
  if (mode === "access") return { mode, tag: tag ?? 0 };
  return { mode: "trunk", ids: decodeSet(row.trunks).flatMap((id) => decodeInteger(id) ?? []) };
}

function ownerOf(ids: ReadonlyMap<string, string>): PortOwner | undefined {
  if (ids.get("owner") !== portOwnerTag) return undefined;
  return {
    contPodUid: ids.get("contPodUid") ?? "",
    contNetns: ids.get("contNetns") ?? "",
    contIface: ids.get("contIface") ?? "",
  };
}

function rowsOf(table: unknown): readonly (readonly [string, Row | undefined])[] {
  return Object.entries(asObject<Record<string, unknown>>(table)).map(([uuid, update]) => {
    const row = asObject<{ readonly new?: unknown }>(update).new;
    return [uuid, row === undefined || row === null ? undefined : asObject<Row>(row)];
  });
}

/** Reads anything but an object as an empty one: whatever the server leaves out is absent. */
function asObject<T extends object>(value: unknown): Partial<T> {
  return typeof value === "object" && value !== null ? value : {};
}
