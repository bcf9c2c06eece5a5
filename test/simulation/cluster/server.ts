import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Clock, sleepBy } from "#base";
import type { ApiResponse } from "#kube";
import { createApiServer, definitionsIn, type Fields, type KubeObject, type LabApi } from "../../../lab/api/index.ts";
import { Registry } from "../../../lab/api/storage/registry.ts";
import { type Change, keyOf, Store } from "../../../lab/api/storage/store.ts";
import { Writer } from "../../../lab/api/storage/writer.ts";
import { epochMs, type Process } from "../runtime/process.ts";
import type { Time } from "../runtime/time.ts";
import type { Asked } from "./requests.ts";
import { virtualDefinition } from "./virtual.ts";

/** Who asked for the write that is being made now. */
export interface Author {
  readonly process: Process;
  readonly asked: Asked;
}

/** The API server of the world: the lab's. Kubelets, the controllers of Kubernetes and people act on it directly. */
export class Server {
  readonly store = new Store();
  readonly #registry = new Registry(this.store);
  readonly #writer: Writer;
  readonly #api: LabApi;
  #author: Author | undefined;
  #epoch = 0;
  #isAway = false;
  /** Told of each request that reaches the server, before it acts. */
  onAsked: (author: Author) => void = () => {};

  constructor(time: Time) {
    const after: Clock["after"] = (ms, act) => {
      const happening = time.after(ms, act);
      return () => {
        happening.cancelled = true;
      };
    };
    const clock: Clock = {
      monotonicMs: () => time.nowMs,
      wall: () => new Date(epochMs + time.nowMs),
      after,
      sleep: sleepBy(after),
    };
    this.#writer = new Writer(this.store, clock);
    this.#api = createApiServer({ crds: crds(), clock, store: this.store });
  }

  /** Who asked for the write of which the store tells now; undefined for the world itself. */
  get author(): Author | undefined {
    return this.#author;
  }

  create(apiVersion: string, plural: string, body: Readonly<Fields>, namespace?: string): KubeObject {
    return this.#writer.create(this.#resource(apiVersion, plural), namespace, { apiVersion, ...body });
  }

  update(
    apiVersion: string,
    plural: string,
    object: KubeObject,
    options: { readonly status?: boolean } = {},
  ): KubeObject {
    const old = this.get(this.#resource(apiVersion, plural).table, object.metadata);
    if (old === undefined) throw new Error(`${plural} ${object.metadata.name} is gone`);
    return this.#writer.update(
      this.#resource(apiVersion, plural),
      old,
      {
        ...object,
        metadata: { ...object.metadata, resourceVersion: old.metadata.resourceVersion } as unknown as Fields,
      },
      options,
    );
  }

  delete(apiVersion: string, plural: string, object: KubeObject, gracePeriodSeconds?: number): void {
    this.#writer.delete(this.#resource(apiVersion, plural), object, { gracePeriodSeconds });
  }

  get(table: string, ref: { readonly namespace?: string; readonly name: string }): KubeObject | undefined {
    return this.store.get(table, keyOf(ref));
  }

  #resource(apiVersion: string, plural: string) {
    const found = this.#registry.find(apiVersion, plural);
    if (found === undefined) throw new Error(`the server knows no ${apiVersion} ${plural}`);
    return found;
  }

  /** It was stopped, and accepts nothing until it is started. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** Counts its stops. What was under way in an earlier epoch has no effect any more. */
  get epoch(): number {
    return this.#epoch;
  }

  stop(): void {
    this.#isAway = true;
    this.#epoch += 1;
  }

  start(): void {
    this.#isAway = false;
  }

  /** Does what a request asks for, as one step. */
  async act(author: Author): Promise<ApiResponse> {
    this.onAsked(author);
    this.#author = author;
    try {
      return await this.#api.handle(author.asked.request, {});
    } finally {
      if (this.#author === author) this.#author = undefined;
    }
  }

  watch({ request }: Asked, signal: AbortSignal): Promise<ApiResponse> {
    return this.#api.handle(request, { signal });
  }
}

export type { Change, KubeObject };

/** Read once: every history begins with them. */
let definitions: readonly Fields[] | undefined;

/** Our own kinds, and those of Kubernetes that the lab's server does not have. */
function crds(): readonly Fields[] {
  const folder = fileURLToPath(new URL("../../../charts/spiderpool/crds/", import.meta.url));
  definitions ??= globSync(`${folder}*.yaml`)
    .sort()
    .flatMap((file) => definitionsIn(readFileSync(file, "utf8")))
    .concat(virtualDefinition);
  return definitions;
}
