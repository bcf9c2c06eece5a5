import { formatIp, ipFromBytes } from "#ip";

/** A packet that a mirror has copied, as far as the tests look at it. */
export interface Copy {
  readonly what: "ping" | "tcp";
  readonly source: string;
  /** Of TCP: where the segment belongs, and how many bytes it carries. */
  readonly sequence: number;
  readonly bytes: number;
  /** SYN and FIN. */
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

/** Reads an IPv4 or IPv6 packet; undefined for one that is neither TCP nor an echo. */
export function copyOf(packet: Uint8Array): Copy | undefined {
  const view = Buffer.from(packet);
  const isFour = view.readUInt8(0) >> 4 === 4;
  const header = isFour ? (view.readUInt8(0) & 0xf) * 4 : 40;
  const end = isFour ? view.readUInt16BE(2) : header + view.readUInt16BE(4);
  const protocol = view.readUInt8(isFour ? 9 : 6);
  const source = formatIp(ipFromBytes(isFour ? packet.subarray(12, 16) : packet.subarray(8, 24)));
  if (protocol === 6) {
    const flags = view.readUInt8(header + 13);
    return {
      what: "tcp",
      source,
      sequence: view.readUInt32BE(header + 4),
      bytes: end - header - (view.readUInt8(header + 12) >> 4) * 4,
      isFirst: (flags & 0x02) !== 0,
      isLast: (flags & 0x01) !== 0,
    };
  }
  const echoes: readonly number[] = isFour ? [0, 8] : [128, 129];
  if (protocol !== (isFour ? 1 : 58) || !echoes.includes(view.readUInt8(header))) return undefined;
  return { what: "ping", source, sequence: 0, bytes: 0, isFirst: false, isLast: false };
}
