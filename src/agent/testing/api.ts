import { silentLogger } from "#base";
import { KubeClient, type KubeObject, type Pod, type Resource, type Selection, WatchedStore } from "#kube";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { FakeApi } from "../../kube/testing/fake-api.ts";

/** An API server in memory with a client, a clock that only moves when told to, and stores that end with the test. */
export class TestApi implements Disposable {
  readonly clock = new ManualClock();
  readonly fake = new FakeApi({ clock: this.clock, withoutStatusSubresource: ["spiderendpoints"] });
  readonly client = new KubeClient({ transport: this.fake, clock: this.clock });
  readonly #stop = new AbortController();

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** A store that has had its first list. */
  async store<T extends KubeObject>(resource: Resource<T>, selection: Selection = {}): Promise<WatchedStore<T>> {
    const { client, clock, signal } = this;
    const store = new WatchedStore<T>({ client, clock, log: silentLogger, resource, ...selection });
    store.run({ signal }).catch(() => {});
    await store.synced({ signal });
    await this.clock.advance(0);
    return store;
  }

  /** Moves time on until the promise has settled: ten minutes at most. */
  drive<T>(promise: Promise<T>): Promise<T> {
    return this.clock.drive(promise);
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new Error("the test is over"));
  }
}

/** A Pod as far as a test says more than that it exists. */
export function testPod(name: string, more: { metadata?: object; spec?: object; status?: object } = {}): Pod {
  const { metadata, spec = {}, status = {} } = more;
  return {
    metadata: { namespace: "default", name, uid: `uid-${name}`, resourceVersion: "1", ...metadata },
    spec,
    status,
  } as unknown as Pod;
}
