import { LinuxError } from "../errors.ts";
import { Channel, type Reply, type Request, type Transport } from "../netlink/channel.ts";
import type { MadeBeside, VethPair, VethSpec } from "./types.ts";
import { vethRequests, type WantedVeth, wantedVeths } from "./veth.ts";

interface Needs {
  /** Makes the socket, inside the namespace that errors call `where`. */
  readonly open: () => Transport;
  readonly where: string;
  /** Turns the replies into pairs. Throws LinuxError if one could not be made, and has then deleted the others. */
  readonly complete: (wanted: readonly WantedVeth[], replies: readonly Reply[]) => readonly VethPair[];
}

interface Wanted {
  /** The request for a link in another namespace. */
  readonly child: (() => Request) | undefined;
  readonly veths: readonly VethSpec[];
}

/** Makes links off the calling thread, over a socket of its own, since nothing else may use it meanwhile. */
export class BesideMaker implements Disposable {
  readonly #needs: Needs;
  #channel: Channel | undefined;
  #isBusy = false;

  constructor(needs: Needs) {
    this.#needs = needs;
  }

  /** See `Rtnl.tryBeside`. */
  async make({ child, veths }: Wanted): Promise<MadeBeside> {
    if (this.#isBusy || (child === undefined && veths.length === 0)) return nothing;
    this.#isBusy = true;
    try {
      const { open, where, complete } = this.#needs;
      const first = child === undefined ? [] : [child()];
      const wanted = wantedVeths(veths);
      this.#channel ??= new Channel(open(), where);
      const replies = await this.#channel.exchangeLater([...first, ...vethRequests(wanted)]);
      const isMade = child !== undefined && replies[0]?.error === undefined;
      try {
        return { child: isMade, pairs: complete(wanted, replies.slice(first.length)) };
      } catch (error) {
        if (!(error instanceof LinuxError)) throw error;
        return { child: isMade, pairs: undefined };
      }
    } finally {
      this.#isBusy = false;
    }
  }

  [Symbol.dispose](): void {
    this.#channel?.[Symbol.dispose]();
  }
}

const nothing: MadeBeside = { child: false, pairs: undefined };
