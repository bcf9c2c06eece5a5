import type { Clock, Logger, Signal } from "#base";
import { runController } from "#kube";
import type { Ovs, OvsPort } from "#ovsdb";

/** A port without a link may still get it: only a port seen without it twice, this far apart, is left over. */
const apartMs = 30_000;
/** How often every port is checked, even those without an error in Open vSwitch. */
const auditMs = 600_000;
/** Changes of the database are handled this much later, all together: in a burst of ADDs most ports have no link yet. */
const settleMs = 1_000;
const everyPort = "ports";

interface LeftoversOptions {
  readonly ovs: Ovs;
  /** False if the host has no network device of this name: it vanished with its Pod's namespace. */
  readonly hasLink: (name: string) => boolean;
  /** Called for each removed port. */
  readonly fault?: (kind: "port-without-namespace") => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Finds ports of ours whose network device is gone, because their Pods ended while no agent ran, or before a reboot. Open vSwitch
 * marks such ports with an error, but not always at once. So the kernel is asked only about marked ports, and about `all` ports
 * in an audit.
 */
function portsWithoutLink(
  ports: Iterable<OvsPort>,
  hasLink: (name: string) => boolean,
  { all }: { readonly all: boolean },
): readonly string[] {
  return [...ports]
    .filter(({ owner, error }) => owner !== undefined && (all || (error !== undefined && error !== "")))
    .map(({ name }) => name)
    .filter((name) => !hasLink(name));
}

/**
 * Removes left-over ports from their bridges in the background, so that even hundreds do not slow down ADDs. Runs when the
 * database changes (Open vSwitch marks a port whose device is gone), when a suspect is due for its second look, and regularly for
 * all ports.
 */
export function runLeftovers({ ovs, hasLink, fault, clock, log }: LeftoversOptions, { signal }: Signal): Promise<void> {
  const suspectSinceMs = new Map<string, number>();
  let auditAtMs = clock.monotonicMs();
  return runController(
    {
      name: "left-over-ports",
      clock,
      log,
      sources: [
        {
          subscribe: (add) => {
            add(everyPort);
            return ovs.changed(() => add(everyPort, settleMs));
          },
        },
      ],
      reconcile: async (_key, o) => {
        if (ovs.state.kind === "disconnected") return {}; // Its return triggers another run.
        const nowMs = clock.monotonicMs();
        const all = nowMs >= auditAtMs;
        if (all) auditAtMs = nowMs + auditMs;
        const suspects = new Set(portsWithoutLink(ovs.ports().values(), hasLink, { all }));
        for (const name of suspectSinceMs.keys()) {
          if (!ovs.ports().has(name) || hasLink(name)) suspectSinceMs.delete(name);
        }
        for (const name of suspects) if (!suspectSinceMs.has(name)) suspectSinceMs.set(name, nowMs);
        const due = [...suspectSinceMs].filter(([, sinceMs]) => nowMs - sinceMs >= apartMs).map(([name]) => name);
        // All at once, so that they share transactions, for each of which vswitchd goes through its ports.
        await Promise.all(due.map((name) => ovs.detach(name, o)));
        for (const name of due) {
          suspectSinceMs.delete(name);
          fault?.("port-without-namespace");
          log.info({ port: name }, "left-over port removed: its network device is gone");
        }
        return { afterMs: suspectSinceMs.size === 0 ? auditAtMs - nowMs : apartMs };
      },
    },
    { signal },
  );
}
