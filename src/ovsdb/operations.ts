import { type OvsPort, type PortSpec, portOwnerTag } from "./types.ts";
import { encodeMap, encodeNamedUuid, encodeSet, encodeUuid } from "./values.ts";

/** One operation of a transaction (RFC 7047 §5.2). */
export type Operation = Readonly<Record<string, unknown>>;

/** Makes a bridge as ovs-vsctl does: with a port and a device of its own name. */
export function bridgeOperations(name: string, datapathType: string, id: number): readonly Operation[] {
  const named = (what: string) => `new${what}OfBridge${id}`;
  return [
    { op: "insert", table: "Interface", "uuid-name": named("Interface"), row: { name, type: "internal" } },
    {
      op: "insert",
      table: "Port",
      "uuid-name": named("Port"),
      row: { name, interfaces: encodeNamedUuid(named("Interface")) },
    },
    {
      op: "insert",
      table: "Bridge",
      "uuid-name": `newBridge${id}`,
      row: {
        name,
        datapath_type: datapathType,
        ports: encodeNamedUuid(named("Port")),
        external_ids: encodeMap({ owner: portOwnerTag }),
      },
    },
    {
      op: "mutate",
      table: "Open_vSwitch",
      where: [],
      mutations: [["bridges", "insert", encodeSet([encodeNamedUuid(`newBridge${id}`)])]],
    },
  ];
}

/**
 * Adds a port. `id` keeps the names of rows apart from those of other ports in one transaction; it cannot be the port's
 * own name, which may hold characters that RFC 7047 §3.1 does not allow in an <id>.
 *
 * A `mutate` that matches no bridge counts 0 and is no error, and the new rows would be collected without a word: the
 * `wait` first makes an unknown bridge the error that it is.
 */
export function attachOperations(spec: PortSpec, id: number): readonly Operation[] {
  const { bridge, name, vlan, owner } = spec;
  const onBridge = [["name", "==", bridge]];
  return [
    {
      op: "wait",
      table: "Bridge",
      where: onBridge,
      columns: ["name"],
      until: "==",
      rows: [{ name: bridge }],
      timeout: 0,
    },
    {
      op: "insert",
      table: "Interface",
      "uuid-name": `newIntf${id}`,
      row: {
        name,
        ...(spec.interfaceType !== undefined && { type: spec.interfaceType }),
        ...(spec.ofportRequest !== undefined && { ofport_request: spec.ofportRequest }),
        ...(spec.ifaceId !== undefined && { external_ids: encodeMap({ "iface-id": spec.ifaceId }) }),
      },
    },
    {
      op: "insert",
      table: "Port",
      "uuid-name": `newPort${id}`,
      row: {
        name,
        vlan_mode: vlan.mode,
        ...vlanColumns(vlan),
        interfaces: encodeNamedUuid(`newIntf${id}`),
        external_ids: encodeMap({ ...owner, owner: portOwnerTag }),
      },
    },
    {
      op: "mutate",
      table: "Bridge",
      where: onBridge,
      mutations: [["ports", "insert", encodeSet([encodeNamedUuid(`newPort${id}`)])]],
    },
  ];
}

function vlanColumns(vlan: PortSpec["vlan"]): Operation {
  if (vlan.mode === "access") return { tag: vlan.tag };
  return vlan.ids.length === 0 ? {} : { trunks: encodeSet(vlan.ids) };
}

/**
 * Takes a port off the bridge that holds it. Port and Interface are not root tables: without the reference both rows are
 * collected at commit. Naming the port by its uuid makes this harmless if the name was given to another port meanwhile.
 */
export function detachOperation(port: Pick<OvsPort, "uuid" | "bridge">): Operation {
  return {
    op: "mutate",
    table: "Bridge",
    where: [["name", "==", port.bridge]],
    mutations: [["ports", "delete", encodeSet([encodeUuid(port.uuid)])]],
  };
}
