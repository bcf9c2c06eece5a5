import type { Signal, Steps } from "#base";
import {
  type AddressConflict,
  type Attachment,
  CniError,
  type CniIp,
  type CniResult,
  cniCodes,
  type Ipam,
  type Probe,
} from "#cni";
import { formatIp } from "#ip";
import { type Netns, probe } from "#linux";
import { openPod } from "./open-pod.ts";

/** Which checks an ADD makes on the wire. Each costs time; none is on by default. */
export interface Detection {
  /** Whether another host of the segment has the addresses. */
  readonly conflicts: boolean;
  /** Whether the gateways answer. */
  readonly gateways: boolean;
  /** After this long without an answer an address counts as free. @default 100 ms */
  readonly conflictMsMax?: number;
  /** How long a gateway may take to answer. @default 500 ms */
  readonly gatewayMsMax?: number;
}

/** No checks. */
export const noDetection: Detection = { conflicts: false, gateways: false };

const usualConflictMsMax = 100;
const usualGatewayMsMax = 500;
/** How many times one ADD tries addresses. If so many are taken, other systems use the pool, too. */
const triesMax = 5;

/** A link for questions about addresses that the Pod does not have yet. */
export interface AskingLink {
  /** Brings the link up, once. Resolves when questions can be sent. */
  readonly open: (o: Signal) => Promise<void>;
  readonly ask: Probe;
  /** Ends the questions. To be called before the link is configured. */
  readonly end: () => void;
}

/** What the questions through a Pod's own link need. */
interface LinkQuestions {
  /** Resolves when the Pod's end exists and its packets would be forwarded. */
  readonly open: (o: Signal) => Promise<void>;
  readonly detection: Detection;
}

/**
 * Asks through the Pod's own link, which has no addresses yet. The link is set up for the first question and down at the end: its
 * MAC address and its IPv6 settings follow from its addresses, and take effect when it comes up again.
 */
export function askingLink(pod: Netns, link: string, { open: whenThere, detection }: LinkQuestions): AskingLink {
  const question = questionBy(pod, link, detection);
  let opened: Promise<void> | undefined;
  const bringUp = async (o: Signal) => {
    await whenThere(o);
    pod.rtnl.setLink(link, { up: true });
  };
  const opening = (o: Signal) => {
    opened ??= bringUp(o);
    return opened;
  };
  return {
    open: opening,
    ask: async (ip, o) => {
      await opening(o);
      return question(ip, o);
    },
    end: () => {
      if (opened !== undefined) pod.rtnl.setLink(link, { up: false });
    },
  };
}

/** Asks through a Pod's own link that is up already and stays up. `open` is called once. */
export function askingWhenOpen(pod: Netns, link: string, { open, detection }: LinkQuestions): Probe {
  const question = questionBy(pod, link, detection);
  let opened: Promise<void> | undefined;
  return async (ip, o) => {
    opened ??= open(o);
    await opened;
    return question(ip, o);
  };
}

/** Asks through another link, which is up and stays up, because the Pod's own would not get the answers. */
export function askingBy(netns: Netns, link: string, detection: Detection): AskingLink {
  return { open: () => Promise.resolve(), ask: questionBy(netns, link, detection), end: () => {} };
}

function questionBy(netns: Netns, link: string, { conflictMsMax = usualConflictMsMax }: Detection): Probe {
  return (ip, { signal }) => probe(netns, link, ip, { timeoutMs: conflictMsMax, signal });
}

/** Returns the result of an IPAM. Throws CniError 999 if it has no address. */
export function refuseEmpty(result: CniResult): CniResult {
  if (result.ips.length > 0) return result;
  throw new CniError(cniCodes.failed, "IPAM plugin returned missing IP config");
}

/**
 * Allocates addresses for a plugin of others, which makes the link and gives it the addresses. If the link exists already, the
 * checks are made through it.
 */
export async function allocateForeign(
  attachment: Attachment,
  { ipam, steps, detection }: { readonly ipam: Ipam; readonly steps: Steps; readonly detection: Detection },
): Promise<CniResult> {
  if (!detection.conflicts && !detection.gateways) return ipam.allocate(attachment, steps);
  const { netns, ifName: of } = attachment;
  using pod = openPod(netns);
  if (pod.rtnl.link(of) === undefined) return await ipam.allocate(attachment, steps);
  const { open, ask } = askingLink(pod, of, { open: () => Promise.resolve(), detection });
  const first = await ipam.allocate(attachment, steps, ask);
  const result = detection.conflicts ? await withoutConflicts(first, { ask, ipam, attachment, steps }) : first;
  if (!detection.gateways) return result;
  const check = async (o: Signal) => {
    await open(o);
    await checkGateways(pod, of, result.ips, { ...o, detection });
  };
  await steps.run("addresses", check, { of });
  return result;
}

/**
 * Asks about all addresses at once, and replaces those that another host has. Returns the result with addresses that no other
 * host has.
 *
 * @throws CniError 999 naming address and MAC address if the IPAM has no others to give, or too many are taken
 */
export async function withoutConflicts(
  first: CniResult,
  {
    ask,
    ipam,
    attachment,
    steps,
  }: {
    readonly ask: Probe;
    readonly ipam: Ipam;
    readonly attachment: Attachment;
    readonly steps: Steps;
  },
): Promise<CniResult> {
  let result = first;
  for (let tries = 1; ; tries++) {
    const { ips } = result;
    const found = await steps.run("addresses", (o) => conflictsOf(ips, ask, o), { of: attachment.ifName });
    const conflict = found.find((one) => ipam.isOwn?.(attachment, one) !== true);
    if (conflict === undefined) return result;
    if (ipam.replace === undefined || tries === triesMax) throw conflictError(attachment, conflict, tries);
    result = await ipam.replace(attachment, conflict, steps);
  }
}

/**
 * Checks that the gateways of the addresses answer. The link already has its addresses.
 *
 * @throws CniError 999 naming the gateway that does not answer
 */
export async function checkGateways(
  netns: Netns,
  link: string,
  ips: readonly CniIp[],
  { signal, detection }: Signal & { readonly detection: Detection },
): Promise<void> {
  const { gatewayMsMax = usualGatewayMsMax } = detection;
  const ask = async ({ address: { ip: source }, gateway }: CniIp) => {
    if (gateway === undefined) return;
    const found = await probe(netns, link, gateway, { source, timeoutMs: gatewayMsMax, signal });
    if (found !== undefined) return;
    // The text leaves out the Pod's address: every attempt has another one, and Events with different texts are not counted
    // as one.
    throw new CniError(cniCodes.failed, `gateway ${formatIp(gateway)} is unreachable`, {
      code: "GATEWAY_SILENT",
      details: {
        interface: link,
        found: `silence for ${gatewayMsMax} ms`,
        fix: "see whether spec.gateway of the IPPool is right, and whether the network's VLAN passes the node's uplink and the switch; where a gateway answers nobody, set enableGatewayDetection: false",
      },
    });
  };
  await Promise.all(ips.map(ask));
}

async function conflictsOf(ips: readonly CniIp[], ask: Probe, o: Signal): Promise<readonly AddressConflict[]> {
  const found = await Promise.all(
    ips.map(async ({ address: { ip } }) => {
      const mac = await ask(ip, o);
      return mac === undefined ? undefined : { ip, mac };
    }),
  );
  return found.filter((conflict) => conflict !== undefined);
}

function conflictError({ ifName }: Attachment, { ip, mac }: AddressConflict, tries: number): CniError {
  const text = formatIp(ip);
  return new CniError(
    cniCodes.failed,
    `ip conflict: pod's interface ${ifName} with an conflicting ip ${text}, ${text} is located at ${mac}`,
    {
      code: "ADDRESS_CONFLICT",
      details: {
        ...(tries > 1 && { found: `${tries} addresses were tried, and somebody answers for each` }),
        fix: `find the host with the MAC address ${mac}, or take ${text} out of the pool (spec.excludeIPs, SpiderReservedIP)`,
      },
    },
  );
}
