import { badRequest, expired } from "../failure.ts";
import type { ListMeta } from "../printing/present.ts";
import type { KubeObject } from "../types.ts";

/** One page of a list. `metadata.continue` names the next one, if there is one. */
interface Page {
  readonly objects: readonly KubeObject[];
  readonly metadata: ListMeta;
}

interface Rest {
  readonly objects: readonly KubeObject[];
  readonly resourceVersion: string;
}

/** How many unfinished lists are kept. The oldest is forgotten first, and its reader must begin again. */
const openMax = 64;
const prefix = "lab-page-";

/** Lists in pages. All pages show the state at the time of the first one. */
export class Pages {
  readonly #open = new Map<string, Rest>();
  #lastId = 0;

  /** The page for `limit` and `continue`. `all` makes the list, for a first page. Throws a 400 or a 410. */
  page(query: URLSearchParams, resourceVersion: number, all: () => readonly KubeObject[]): Page {
    const token = query.get("continue") ?? "";
    const from = token === "" ? { objects: all(), resourceVersion: String(resourceVersion) } : this.#take(token);
    const limit = Number(query.get("limit") ?? 0);
    if (!(limit > 0) || from.objects.length <= limit) {
      return { objects: from.objects, metadata: { resourceVersion: from.resourceVersion } };
    }
    const rest = from.objects.slice(limit);
    const metadata = { resourceVersion: from.resourceVersion, continue: this.#keep({ ...from, objects: rest }) };
    // A real server does not count the rest if there is a selector.
    const counts = query.get("labelSelector") === null && query.get("fieldSelector") === null;
    return {
      objects: from.objects.slice(0, limit),
      metadata: counts ? { ...metadata, remainingItemCount: rest.length } : metadata,
    };
  }

  #take(token: string): Rest {
    if (!token.startsWith(prefix)) throw badRequest("continue key is not valid: it is none of this server's");
    const rest = this.#open.get(token);
    if (rest === undefined)
      throw expired("The provided continue parameter is too old to display a consistent list result.");
    return rest;
  }

  #keep(rest: Rest): string {
    this.#lastId += 1;
    const token = `${prefix}${this.#lastId}`;
    this.#open.set(token, rest);
    const [oldest = ""] = this.#open.keys();
    if (this.#open.size > openMax) this.#open.delete(oldest);
    return token;
  }
}
