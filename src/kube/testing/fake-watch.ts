import type { Commit, StoredObject } from "./fake-storage.ts";

interface FakeWatchOptions {
  /** The version from which on it was asked for. */
  readonly after: number;
  /** Whether an object belongs to the watched selection. */
  readonly selects: (collection: string, object: StoredObject) => boolean;
  /** What the client asked to see of an object. */
  readonly view: (object: StoredObject) => object;
  readonly signal: AbortSignal;
  readonly onClose: () => void;
  /** What the reader of a broken connection gets. */
  readonly lost: () => Error;
}

/** One open watch: events in, lines out, with the ways in which a watch can end. */
export class FakeWatch {
  readonly #options: FakeWatchOptions;
  readonly #lines: string[] = [];
  readonly #held: (() => void)[] = [];
  #end: "open" | "ended" | "broken" = "open";
  #isDeaf = false;
  #wake = () => {};

  constructor(options: FakeWatchOptions) {
    this.#options = options;
  }

  /** Tells of a commit, or keeps it back. */
  offer(commit: Commit, hold: boolean): void {
    if (hold) {
      this.#held.push(() => this.offer(commit, false));
      return;
    }
    const { selects, view, after } = this.#options;
    // As the API server does it: what comes before the version that was asked for is kept back, also after a restore.
    if (commit.version <= after) return;
    const was = commit.before !== undefined && selects(commit.collection, commit.before);
    const is = commit.after !== undefined && selects(commit.collection, commit.after);
    if (!was && !is) return;
    const type = !is ? "DELETED" : was ? "MODIFIED" : "ADDED";
    // An object that leaves the selection is told as deleted: its last selected state, with the version of the change.
    const shown =
      type === "DELETED" && commit.before !== undefined
        ? { ...commit.before, metadata: { ...commit.before.metadata, resourceVersion: String(commit.version) } }
        : commit.last;
    this.sendLine(JSON.stringify({ type, object: view(shown) }));
  }

  /** Tells, or keeps back, the beginning of a streaming list: all that exists, and the bookmark that ends it. */
  begin(collection: string, objects: readonly StoredObject[], hold: boolean): void {
    if (hold) {
      this.#held.push(() => this.begin(collection, objects, false));
      return;
    }
    const { selects, view, after } = this.#options;
    for (const object of objects.filter((one) => selects(collection, one))) {
      this.sendLine(JSON.stringify({ type: "ADDED", object: view(object) }));
    }
    const annotations = { "k8s.io/initial-events-end": "true" };
    const object = { kind: "Bookmark", metadata: { resourceVersion: String(after), annotations } };
    this.sendLine(JSON.stringify({ type: "BOOKMARK", object }));
  }

  flush(): void {
    for (const tell of this.#held.splice(0)) tell();
  }

  /** Only where nothing is kept back: a bookmark says that everything before it was told. */
  bookmark(version: number): void {
    if (this.#held.length > 0 || version < this.#options.after) return;
    const object = { kind: "Bookmark", metadata: { resourceVersion: String(version), creationTimestamp: null } };
    this.sendLine(JSON.stringify({ type: "BOOKMARK", object }));
  }

  /** The connection is half open: nothing passes any more, and neither side notices. */
  deafen(): void {
    this.#isDeaf = true;
  }

  sendLine(line: string): void {
    if (this.#isDeaf) return;
    this.#lines.push(`${line}\n`);
    this.#wake();
  }

  /** The server ends the watch. */
  end(): void {
    this.#close("ended");
  }

  /** The connection breaks. */
  break(): void {
    this.#close("broken");
  }

  async *body(): AsyncGenerator<Uint8Array, void, undefined> {
    const { signal, onClose, lost } = this.#options;
    const onAbort = () => this.#wake();
    signal.addEventListener("abort", onAbort);
    try {
      for (;;) {
        signal.throwIfAborted();
        const line = this.#lines.shift();
        if (line !== undefined) {
          yield Buffer.from(line);
        } else if (this.#end === "ended") {
          return;
        } else if (this.#end === "broken") {
          throw lost();
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      onClose();
    }
  }

  #close(how: "ended" | "broken"): void {
    if (this.#isDeaf) return;
    this.#end = how;
    this.#wake();
    this.#options.onClose();
  }
}
