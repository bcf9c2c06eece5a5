import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { systemClock as clock, silentLogger } from "#base";
import { configMaps, createTransport, KubeClient, loadKubeConfig, WatchedStore } from "#kube";

/**
 * How the product's own store reads a server.
 *
 * @param kubeconfig of an administrator; asked when the tests run, not when they are declared
 */
export function stores(kubeconfig: () => string): void {
  describe("a store", () => {
    it("shows more than a page, and what comes and goes afterwards, whether the server streams lists or not", async () => {
      using transport = createTransport(loadKubeConfig({ kubeconfig: kubeconfig() }), { clock });
      const client = new KubeClient({ transport, clock });
      const selection = { namespace: "default", labelSelector: "stored" };
      const pages = { pageItems: 2, client, clock, log: silentLogger, resource: configMaps };
      const store = new WatchedStore({ ...selection, ...pages });
      const stop = new AbortController();
      const ref = (at: number) => ({ namespace: "default", name: `stored-${at}` });
      const make = (at: number) =>
        client.create(configMaps, { metadata: { ...ref(at), labels: { stored: "" } } }, stop);
      for (const at of [1, 2, 3, 4, 5]) await make(at);
      const running = store.run(stop);
      await store.synced(stop);
      const names = () => store.list().map(({ metadata }) => metadata.name);
      assert.deepEqual(names().sort(), ["stored-1", "stored-2", "stored-3", "stored-4", "stored-5"]);
      await make(6);
      await store.waitFor("default/stored-6", (now) => now !== undefined, stop);
      await client.delete(configMaps, ref(1), stop);
      await store.waitFor("default/stored-1", (now) => now === undefined, stop);
      assert.equal(store.breaks, 0);
      stop.abort();
      await running;
    });
  });
}
