import type { SpiderIPAddressSpec } from "#api";
import type { Author } from "./server.ts";
import { Violation } from "./violation.ts";

/**
 * An ADD sends so many creates for one address at most, lost and refused ones included. By what agents know of a pool the
 * second one is rare; after eight that met somebody else's address all of the pool's claims are listed.
 */
const createsMax = 12;

/** What claims cost the API server. */
export class WritesLaw {
  /** By sandbox, NIC and family. */
  readonly #creates = new Map<string, number>();

  /** A request of an agent about a claim has reached the server. */
  asked({ process, asked: { verb, plural, request } }: Author): void {
    if (verb !== "create" || plural !== "spideripaddresses" || !process.name.startsWith("agent")) return;
    const { spec }: { readonly spec: SpiderIPAddressSpec } = JSON.parse(Buffer.from(request.body ?? "{}").toString());
    const key = `${spec.nic} of ${spec.containerID}, IPv${spec.address.includes(":") ? 6 : 4}`;
    const sent = (this.#creates.get(key) ?? 0) + 1;
    this.#creates.set(key, sent);
    if (sent > createsMax) throw new Violation("an ADD sends few creates", `${sent} for ${key}`);
  }
}
