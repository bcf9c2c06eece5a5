import type { SpiderIPAddressSpec } from "#api";
import type { Author, Server } from "../cluster/server.ts";
import { virtualOf } from "../cluster/virtual.ts";
import { claimTable } from "./tables.ts";
import { Violation } from "./violation.ts";

/**
 * An ADD sends so many creates for one address at most, lost and refused ones included. By what agents know of a pool the
 * second one is rare; after eight that met somebody else's address all of the pool's claims are listed.
 */
const createsMax = 12;

/**
 * A Pod costs so many writes at most, by anybody and of any kind, lost and refused ones included, for each of its sandboxes that
 * came to a claim, and a few once. Two are usual for a Pod with one NIC, claim and status, and one when it ends; in 150,000 steps
 * with every fault no Pod had more than 7 for each of its sandboxes.
 */
const writesMax = { eachSandbox: 10, once: 10 };

const claims = "spideripaddresses";
const changes: ReadonlySet<string> = new Set(["create", "update", "patch", "delete"]);

/** What Pods cost the API server. */
export class WritesLaw {
  readonly #server: Server;
  /** By sandbox, NIC and family. */
  readonly #creates = new Map<string, number>();
  /** By name of the Pod; all Pods of the virtual machine have one endpoint, which has its name. */
  readonly #pods = new Map<string, { readonly sandboxes: Set<string>; writes: number }>();

  constructor(server: Server) {
    this.#server = server;
  }

  /** A request of a program has reached the server. */
  asked({ process, asked: { verb, plural, name, request } }: Author): void {
    if (!changes.has(verb)) return;
    if (plural === "spiderendpoints" || plural === "pods") {
      const [, namespace, inPath] = /\/namespaces\/([^/]+)\/[^/]+(?:\/([^/?]+))?/.exec(request.path) ?? [];
      this.#count(`${namespace}/${inPath ?? decode(request.body).metadata?.name}`, undefined);
    }
    if (plural !== claims) return;
    const spec = verb === "delete" ? this.#stored(name) : decode(request.body).spec;
    if (spec?.podName !== undefined) this.#count(`${spec.podNamespace}/${spec.podName}`, spec.containerID);
    if (verb === "create" && spec !== undefined && process.name.startsWith("agent")) this.#created(spec);
  }

  #created(spec: SpiderIPAddressSpec): void {
    const key = `${spec.nic} of ${spec.containerID}, IPv${spec.address.includes(":") ? 6 : 4}`;
    const sent = (this.#creates.get(key) ?? 0) + 1;
    this.#creates.set(key, sent);
    if (sent > createsMax) throw new Violation("an ADD sends few creates", `${sent} for ${key}`);
  }

  #count(podKey: string, sandbox: string | undefined): void {
    const pod = virtualOf(podKey) ?? podKey;
    const of = this.#pods.get(pod) ?? { sandboxes: new Set(), writes: 0 };
    this.#pods.set(pod, of);
    if (sandbox !== undefined) of.sandboxes.add(sandbox);
    of.writes += 1;
    const { sandboxes, writes } = of;
    if (writes <= writesMax.once + writesMax.eachSandbox * sandboxes.size) return;
    throw new Violation("a Pod costs few writes", `${writes} for ${sandboxes.size} sandboxes of ${pod}`);
  }

  #stored(name = ""): SpiderIPAddressSpec | undefined {
    return this.#server.get(claimTable, { name })?.["spec"] as SpiderIPAddressSpec | undefined;
  }
}

interface Body {
  readonly metadata?: { readonly name?: string };
  readonly spec?: SpiderIPAddressSpec;
}

function decode(body: Uint8Array | string | undefined): Body {
  return JSON.parse(Buffer.from(body ?? "{}").toString());
}
