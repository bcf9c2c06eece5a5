/** `#ovsdb` as the simulated agent sees it: the ports of its machine, without a database that could be away. */
import { current } from "../runtime/process.ts";

export * from "#ovsdb";

export function createOvs() {
  const { machine } = current();
  const bridges = new Map([["br1", { name: "br1", datapathType: "system", ports: [] }]]);
  return {
    state: { kind: "connected" },
    bridges: () => bridges,
    ports: () =>
      new Map(
        [...machine.ports.values()].map((port) => {
          const there = machine.hasHostLink(port.name);
          const error = there ? undefined : `could not open network device ${port.name} (No such device)`;
          return [port.name, { ...port, ofport: there ? 1 : -1, error }];
        }),
      ),
    changed: (listener: () => void) => {
      machine.portListeners.add(listener);
      return () => machine.portListeners.delete(listener);
    },
    synced: () => Promise.resolve(),
    detach: async (which: string) => {
      if (current().isDead || !machine.ports.delete(which)) return [];
      machine.tellPorts();
      return [which];
    },
    [Symbol.asyncDispose]: async () => {},
  };
}
