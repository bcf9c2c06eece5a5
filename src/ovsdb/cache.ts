import { asObject, decodeRowUpdate, type Row, type RowUpdate, rowAfter, type Table } from "./row-updates.ts";
import { type BridgeInfo, type OvsMirror, type OvsPort, type PortOwner, portOwnerTag, type Vlan } from "./types.ts";
import { decodeInteger, decodeMap, decodeOptional, decodeSet, decodeText, decodeUuids } from "./values.ts";

interface Bridge {
  readonly name: string;
  readonly datapathType: string;
  /** Hundreds, of which an update tells only those that came and went. */
  readonly ports: Set<string>;
  readonly row: Row;
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

  /** Takes the `table-updates2` of ovsdb-server(7) §4.1.14. */
  apply(updates: unknown): void {
    const tables = asObject<Record<Table, unknown>>(updates);
    for (const [uuid, update] of updatesOf(tables.Bridge)) this.#setBridge(uuid, update);
    for (const [uuid, update] of updatesOf(tables.Port))
      this.#setPort(uuid, rowAfter(this.#ports.get(uuid)?.row, update));
    for (const [uuid, update] of updatesOf(tables.Mirror)) setRow(this.#mirrors, uuid, update);
    for (const [uuid, update] of updatesOf(tables.Interface)) {
      setRow(this.#interfaces, uuid, update);
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
    return [...this.#bridges.values()].flatMap(({ name: bridge, row: { mirrors } }) =>
      decodeUuids(mirrors).flatMap((uuid): readonly OvsMirror[] => {
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

  #setBridge(uuid: string, update: RowUpdate): void {
    const before = this.#bridges.get(uuid);
    const isChange = update !== "gone" && "change" in update;
    if (before !== undefined && !isChange) for (const port of before.ports) this.#leave(port, before.name);
    if (update === "gone") {
      this.#bridges.delete(uuid);
      return;
    }
    const { ports: told, ...columns } = isChange ? update.change : update.whole;
    const row = isChange ? (rowAfter(before?.row, { change: columns }) ?? {}) : columns;
    const name = decodeText(row.name) ?? "";
    const ports = (isChange ? before?.ports : undefined) ?? new Set();
    for (const port of decodeUuids(told)) {
      if (ports.delete(port)) this.#leave(port, name);
      else {
        ports.add(port);
        this.#decoded.delete(port);
        this.#bridgeOfPort.set(port, name);
      }
    }
    // An empty datapath_type means the default, which is the kernel's.
    this.#bridges.set(uuid, { name, datapathType: decodeText(row.datapath_type) || "system", ports, row });
  }

  #leave(port: string, bridge: string): void {
    this.#decoded.delete(port);
    // A port may have moved to a bridge that is earlier in the same update.
    if (this.#bridgeOfPort.get(port) === bridge) this.#bridgeOfPort.delete(port);
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
      uuid,
      name,
      bridge,
      vlan: vlanOf(row),
      owner: ownerOf(decodeMap(row.external_ids)),
      ofport: decodeOptional(device.ofport, decodeInteger),
      error: decodeOptional(device.error, decodeText),
      interfaceType: decodeText(device.type) || "system",
      ifaceId: decodeMap(device.external_ids).get("iface-id"),
    };
  }
}

function setRow(rows: Map<string, Row>, uuid: string, update: RowUpdate): void {
  const row = rowAfter(rows.get(uuid), update);
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

function updatesOf(table: unknown): readonly (readonly [string, RowUpdate])[] {
  return Object.entries(asObject<Record<string, unknown>>(table)).map(([uuid, update]) => [
    uuid,
    decodeRowUpdate(update),
  ]);
}
