import "reflect-metadata"; // The library below needs it to be loaded first.
import { randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

/** A certificate with its key, PEM. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** A new server certificate and the authority that signed it. */
export interface Issued extends Pair {
  /** The authority that signed it, PEM. Its private key was discarded after this one signature. */
  readonly ca: string;
}

/** Whom a certificate names, and how long it is valid. */
export interface IssueOptions {
  /** DNS names and IP addresses of the server; the first is also its common name. */
  readonly names: readonly string[];
  readonly lifetimeMs: number;
  readonly now: Date;
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** Certificates are valid from this long ago, because clocks of API servers may be behind ours. */
const backdatedMs = 5 * 60_000;

/** Creates an authority, signs one server certificate with it, and discards the authority's key. */
export async function issue({ names, lifetimeMs, now }: IssueOptions): Promise<Issued> {
  cryptoProvider.set(webcrypto as typeof globalThis.crypto);
  const [authority, server] = await Promise.all([keyPair(), keyPair()]);
  const validity = {
    notBefore: new Date(now.getTime() - backdatedMs),
    notAfter: new Date(now.getTime() + lifetimeMs),
  };
  // Each authority has its own name, because verifiers look up the issuer by name.
  const issuer = `CN=spiderpool-webhook-ca-${randomBytes(6).toString("hex")}`;
  const ca = await X509CertificateGenerator.createSelfSigned({
    ...validity,
    serialNumber: serialNumber(),
    name: issuer,
    signingAlgorithm: algorithm,
    keys: authority,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      await SubjectKeyIdentifierExtension.create(authority.publicKey),
    ],
  });
  const cert = await X509CertificateGenerator.create({
    ...validity,
    serialNumber: serialNumber(),
    subject: `CN=${names[0] ?? "spiderpool"}`,
    issuer,
    signingAlgorithm: algorithm,
    publicKey: server.publicKey,
    signingKey: authority.privateKey,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const), value })),
      ),
      await SubjectKeyIdentifierExtension.create(server.publicKey),
      await AuthorityKeyIdentifierExtension.create(authority.publicKey),
    ],
  });
  const key = PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", server.privateKey), "PRIVATE KEY");
  return { ca: withNewline(ca.toString("pem")), cert: withNewline(cert.toString("pem")), key: withNewline(key) };
}

function keyPair(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

/** A random serial number, positive as RFC 5280 §4.1.2.2 demands. */
function serialNumber(): string {
  return `01${randomBytes(15).toString("hex")}`;
}

function withNewline(pem: string): string {
  return pem.endsWith("\n") ? pem : `${pem}\n`;
}
