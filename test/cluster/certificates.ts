import { createPublicKey, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../lab/topology/index.ts";

/** Paths of PEM files. */
interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** The cluster's certificate authority. It signs the certificates of servers and of the API server's users. */
export class Authority {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async create(directory: string): Promise<Authority> {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const authority = new Authority(directory);
    await authority.#key("ca");
    const request = ["openssl", "req", "-x509", "-new", "-key", authority.#path("ca.key"), "-subj", "/CN=cluster-ca"];
    const usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"];
    await run([...request, ...usage, "-days", "30", "-out", authority.certificate]);
    return authority;
  }

  /** Path of the authority's own certificate. */
  get certificate(): string {
    return this.#path("ca.crt");
  }

  /** A certificate for a user (`/O=group/CN=user`) or, with `names` (`DNS:…`, `IP:…`), for a server. */
  async issue(name: string, subject: string, names: readonly string[] = []): Promise<Certificate> {
    await this.#key(name);
    const extensions = [
      "basicConstraints=CA:FALSE",
      "keyUsage=critical,digitalSignature",
      `extendedKeyUsage=${names.length > 0 ? "serverAuth" : "clientAuth"}`,
      ...(names.length > 0 ? [`subjectAltName=${names.join(",")}`] : []),
    ];
    writeFileSync(this.#path(`${name}.ext`), `${extensions.join("\n")}\n`);
    const request = await run(["openssl", "req", "-new", "-key", this.#path(`${name}.key`), "-subj", subject]);
    const serial = `0x${randomBytes(8).toString("hex")}`;
    await run(
      [
        ...["openssl", "x509", "-req", "-CA", this.certificate, "-CAkey", this.#path("ca.key"), "-set_serial", serial],
        ...["-days", "30", "-extfile", this.#path(`${name}.ext`), "-out", this.#path(`${name}.crt`)],
      ],
      { input: request },
    );
    return { cert: this.#path(`${name}.crt`), key: this.#path(`${name}.key`) };
  }

  /** The one key pair that service account tokens are signed with. */
  async tokenKeys(): Promise<{ readonly publicKey: string; readonly privateKey: string }> {
    const [privateKey, publicKey] = [this.#path("sa.key"), this.#path("sa.pub")];
    if (existsSync(publicKey)) return { publicKey, privateKey };
    await this.#key("sa");
    writeFileSync(publicKey, createPublicKey(readFileSync(privateKey)).export({ type: "spki", format: "pem" }));
    return { publicKey, privateKey };
  }

  /** Issues a certificate for a user with this subject, and writes a kubeconfig for it. Returns its path. */
  async kubeconfig(user: string, subject: string, server: string): Promise<string> {
    const { cert, key } = await this.issue(user, subject);
    const path = join(this.#directory, `${user}.kubeconfig`);
    const data = (file: string) => readFileSync(file).toString("base64");
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "cluster",
      contexts: [{ name: "cluster", context: { cluster: "cluster", user } }],
      clusters: [{ name: "cluster", cluster: { server, "certificate-authority-data": data(this.certificate) } }],
      users: [{ name: user, user: { "client-certificate-data": data(cert), "client-key-data": data(key) } }],
    };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  async #key(name: string): Promise<void> {
    await run([
      "openssl",
      "genpkey",
      "-algorithm",
      "EC",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-out",
      this.#path(`${name}.key`),
    ]);
  }

  #path(file: string): string {
    return join(this.#directory, file);
  }
}
