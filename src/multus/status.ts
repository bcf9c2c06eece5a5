import { isJsonObject, type JsonObject } from "#base";
import type { CniInterface, CniResult } from "#cni";
import { formatIp, type Ip, tryParseIp } from "#ip";
import { isDefault } from "./routes.ts";

/** Where a Pod's networks are reported (NPWG multi-network specification §5). */
export const networkStatusAnnotation = "k8s.v1.cni.cncf.io/network-status";

/** A delegate that was attached, with its result. */
export interface Attached {
  readonly displayName: string;
  readonly master: boolean;
  readonly result: CniResult;
  /** The contents of the device-info file that its plugin wrote. */
  readonly deviceInfo?: JsonObject | undefined;
}

/**
 * Formats the network-status annotation: entries indented by four spaces and joined by `,` between `[` and `]`. A delegate with
 * one interface has one entry, a delegate with several has one for each interface inside the Pod, one without has none.
 */
export function formatNetworkStatus(attached: readonly Attached[]): string {
  const entries = attached.flatMap(entriesOf).map((entry) => JSON.stringify(entry, undefined, 4));
  return `[${entries.join(",")}]`;
}

function entriesOf(one: Attached): readonly JsonObject[] {
  const { interfaces, ips } = one.result;
  const [only, ...more] = interfaces;
  if (only === undefined) return [];
  if (more.length === 0) {
    const shown = only.sandbox === undefined ? undefined : only;
    return [
      entry(
        one,
        shown,
        ips.map(({ address }) => formatIp(address.ip)),
        one.master,
      ),
    ];
  }
  const inPod = interfaces.flatMap((each, position) => (each.sandbox === undefined ? [] : [{ each, position }]));
  const last = inPod.at(-1)?.position;
  const routed = ips.find((ip) => ip.gateway !== undefined && interfaces[ip.interface ?? -1]?.sandbox !== undefined);
  const defaultAt = routed?.interface ?? inPod[0]?.position;
  return inPod.map(({ each, position }) => {
    const own = ips.filter((ip) => (ip.interface ?? last) === position);
    return entry(
      one,
      each,
      own.map(({ address }) => formatIp(address.ip)),
      one.master && position === defaultAt,
    );
  });
}

/** The keys are in the order that users know. Empty ones are left out, except `dns`. */
function entry(
  one: Attached,
  shown: CniInterface | undefined,
  ips: readonly string[],
  isDefaultNet: boolean,
): JsonObject {
  // Multus prints a default route without a gateway like this.
  const gateways = one.result.routes.filter(isDefault).map(({ gw }) => (gw === undefined ? "<nil>" : formatIp(gw)));
  return {
    name: one.displayName,
    ...(shown !== undefined && { interface: shown.name }),
    ...(ips.length > 0 && { ips }),
    ...(shown?.mac !== undefined && { mac: shown.mac }),
    ...(shown?.mtuBytes !== undefined && { mtu: shown.mtuBytes }),
    ...(isDefaultNet && { default: true }),
    dns: one.result.dns ?? {},
    ...(one.deviceInfo !== undefined && { "device-info": one.deviceInfo }),
    ...(gateways.length > 0 && { gateway: gateways }),
  };
}

/**
 * The addresses that a network-status annotation shows for an interface of the Pod. Anybody who may change the Pod may have
 * written the text: use it as a hint, never as proof. Malformed text shows no address.
 */
export function addressesOfStatus(text: string | undefined, nic: string): readonly Ip[] {
  // Most Pods have no annotation yet, and an exception for each would cost more than everything else here.
  const entries = text === undefined ? undefined : parsed(text);
  if (!Array.isArray(entries)) return [];
  return entries.slice(0, shownMax).flatMap((entry: unknown) => {
    if (!isJsonObject(entry) || entry["interface"] !== nic || !Array.isArray(entry["ips"])) return [];
    return entry["ips"].slice(0, shownMax).flatMap((ip: unknown) => (typeof ip === "string" && tryParseIp(ip)) || []);
  });
}

/** The most entries, and the most addresses of an entry, that are read. We write fewer. */
const shownMax = 64;

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
