import { once } from "node:events";
import { connect, type Socket } from "node:net";

const database = "Open_vSwitch";
const watched = "watched";

interface Message {
  readonly id: unknown;
  readonly method?: string;
  readonly params?: readonly unknown[];
  readonly result?: unknown;
  readonly error?: unknown;
}

type Results = readonly ({ readonly uuid?: unknown; readonly error?: string } | null)[];

/** Open vSwitch's database in plain JSON-RPC (RFC 7047): rows of ports in and out, one transaction at a time. */
export class BareSwitch {
  readonly #socket: Socket;
  readonly #bridge: string;
  readonly #forwarding = new Map<string, () => void>();
  #answer: ((message: Message) => void) | undefined;
  #received = "";
  /** The position in `#received` up to which it was scanned, and how many braces are open there. */
  #at = 0;
  #depth = 0;

  private constructor(socket: Socket, bridge: string) {
    this.#socket = socket;
    this.#bridge = bridge;
    socket.on("data", (chunk) => this.#take(chunk.toString()));
  }

  static async connect(path: string, bridge: string): Promise<BareSwitch> {
    const socket = connect(path);
    await once(socket, "connect");
    const bare = new BareSwitch(socket, bridge);
    await bare.#request("monitor", [database, watched, { Interface: { columns: ["name", "ofport"] } }]);
    return bare;
  }

  /** Resolves when vswitchd has given the port its number, which it does when it forwards. To be called before the row is. */
  forwards(name: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#forwarding.set(name, resolve);
    return promise;
  }

  /** Sends the transaction before it returns. Resolves with the rows of the ports. */
  async insert(names: readonly string[]): Promise<readonly unknown[]> {
    const rows = names.flatMap((name, at) => [
      { op: "insert", table: "Interface", "uuid-name": `i${at}`, row: { name } },
      { op: "insert", table: "Port", "uuid-name": `p${at}`, row: { name, interfaces: ["named-uuid", `i${at}`] } },
    ]);
    const ports = names.map((_, at) => ["named-uuid", `p${at}`]);
    const results = await this.#transact(...rows, this.#mutate("insert", ports));
    return names.map((_, at) => results[2 * at + 1]?.uuid);
  }

  async remove(ports: readonly unknown[]): Promise<void> {
    await this.#transact(this.#mutate("delete", ports));
  }

  #mutate(how: "insert" | "delete", ports: readonly unknown[]): object {
    const where = [["name", "==", this.#bridge]];
    return { op: "mutate", table: "Bridge", where, mutations: [["ports", how, ["set", ports]]] };
  }

  async #transact(...operations: readonly object[]): Promise<Results> {
    const results = (await this.#request("transact", [database, ...operations])) as Results;
    const refusal = results.find((one) => one === null || one.error !== undefined);
    if (refusal !== undefined) throw new Error(`Open vSwitch's database refused: ${JSON.stringify(results)}`);
    return results;
  }

  async #request(method: string, params: readonly unknown[]): Promise<unknown> {
    const answered = new Promise<Message>((resolve) => {
      this.#answer = resolve;
    });
    this.#socket.write(JSON.stringify({ method, params, id: method }));
    const { result, error } = await answered;
    if (error) throw new Error(`Open vSwitch's database refused: ${JSON.stringify(error)}`);
    return result;
  }

  /** A message is complete when its braces are balanced. Strings have no braces here. */
  #take(text: string): void {
    this.#received += text;
    for (; this.#at < this.#received.length; this.#at++) {
      const character = this.#received[this.#at];
      if (character === "{") this.#depth += 1;
      if (character !== "}" || --this.#depth > 0) continue;
      this.#hear(JSON.parse(this.#received.slice(0, this.#at + 1)));
      this.#received = this.#received.slice(this.#at + 1);
      this.#at = -1;
    }
  }

  #hear(message: Message): void {
    const { method, params = [] } = message;
    if (method === undefined) this.#answer?.(message);
    else if (method === "echo") this.#socket.write(JSON.stringify({ id: message.id, result: params, error: null }));
    else if (method === "update") {
      const { Interface: rows = {} } = params[1] as { readonly Interface?: Record<string, { new?: InterfaceRow }> };
      for (const { new: row } of Object.values(rows)) {
        if (row === undefined || typeof row.ofport !== "number" || row.ofport < 0) continue;
        this.#forwarding.get(row.name)?.();
        this.#forwarding.delete(row.name);
      }
    }
  }
}

interface InterfaceRow {
  readonly name: string;
  /** An empty set while vswitchd has not seen the port, and -1 while its device is missing. */
  readonly ofport: unknown;
}
