import type { Secret } from "#kube";
import type { Certificates } from "./plan.ts";

/** Reads the certificates from a Secret. */
export function readSecret({ data = {} }: Secret): Certificates {
  const text = (key: string) => Buffer.from(data[key] ?? "", "base64").toString("utf8");
  const pair = (prefix: string) => {
    const [cert, key] = [text(`${prefix}.crt`), text(`${prefix}.key`)];
    return cert === "" || key === "" ? undefined : { cert, key };
  };
  return { ca: text("ca.crt"), current: pair("tls"), next: pair("next") };
}

/** The `data` of a Secret with these certificates. */
export function secretData({ ca, current, next }: Certificates): Readonly<Record<string, string>> {
  return {
    "ca.crt": encode(ca),
    "tls.crt": encode(current?.cert ?? ""),
    "tls.key": encode(current?.key ?? ""),
    ...(next && { "next.crt": encode(next.cert), "next.key": encode(next.key) }),
  };
}

function encode(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}
