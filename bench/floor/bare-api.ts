import { once } from "node:events";
import { connect, type Socket } from "node:net";

const headEnd = "\r\n\r\n";

/** One warm connection to the lab's API server, without any client around it. Answers come in the order of the requests. */
export class BareApi {
  readonly #socket: Socket;
  readonly #host: string;
  readonly #waiting: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  #received = "";

  private constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.#host = host;
    socket.on("data", (chunk) => this.#take(chunk.toString("latin1")));
  }

  static async connect(url: string): Promise<BareApi> {
    const { hostname, port, host } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    await once(socket, "connect");
    return new BareApi(socket, host);
  }

  /** A ConfigMap with as much text as an address of the product: an object without rules of its own, which nobody watches. */
  create(name: string): Promise<void> {
    const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { text: "x".repeat(600) } };
    return this.#send("POST", "", JSON.stringify(object));
  }

  delete(name: string): Promise<void> {
    return this.#send("DELETE", `/${name}`, "");
  }

  #send(method: string, path: string, body: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ resolve, reject });
    this.#socket.write(
      `${method} /api/v1/namespaces/default/configmaps${path} HTTP/1.1\r\nHost: ${this.#host}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    return promise;
  }

  /** The lab's server tells each answer's length. */
  #take(text: string): void {
    this.#received += text;
    for (;;) {
      const head = this.#received.indexOf(headEnd);
      if (head < 0) return;
      const [, status = "", length] = /^HTTP\/1\.1 (\d+)[\s\S]*?content-length: (\d+)/i.exec(this.#received) ?? [];
      const end = head + headEnd.length + Number(length);
      if (this.#received.length < end) return;
      const next = this.#waiting.shift();
      if (status.startsWith("2")) next?.resolve();
      else next?.reject(new Error(`the API server refused: ${this.#received.slice(0, end)}`));
      this.#received = this.#received.slice(end);
    }
  }
}
