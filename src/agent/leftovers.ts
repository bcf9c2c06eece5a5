import type { Clock, Logger, Signal } from "#base";
import { runController } from "#kube";
import type { Ovs, OvsPort } from "#ovsdb";

/** A port without a link may be one whose link is just being made: only what is seen twice, so far apart, is left over. */
const apartMs = 30_000;
/** How often every port is looked at, also those with which Open vSwitch is content. */
const auditMs = 600_000;
/** A change of the database is looked at so much later, with all that follow: in a burst of ADDs most ports have no link yet. */
const settleMs = 1_000;
const everyPort = "ports";

interface LeftoversOptions {
  readonly ovs: Ovs;
  /** False where the host has no network device of this name: it went with its Pod's namespace. */
  readonly hasLink: (name: string) => boolean;
  /** Told of each that is removed. */
  readonly fault?: (kind: "port-without-namespace") => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Ports of ours whose network device is gone: of Pods that ended while nobody looked, or before a reboot. Open vSwitch marks
 * them with an error as soon as it looks at its ports anew, which it need not do when a device vanishes; until then the
 * kernel is asked only for those, and for `all` in an audit.
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
 * Takes left-over ports off their bridges, in the background: hundreds of them cost an ADD nothing. Runs when the database
 * tells of a change (Open vSwitch marks a port whose device went), when a suspect is due for its second look, and for all
 * ports now and then.
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
          synced: () => Promise.resolve(),
          subscribe: (add) => {
            add(everyPort);
            return ovs.changed(() => add(everyPort, settleMs));
          },
        },
      ],
      reconcile: async (_key, o) => {
        if (ovs.state.kind === "disconnected") return {}; // It tells of its return.
        const nowMs = clock.monotonicMs();
        const all = nowMs >= auditAtMs;
        if (all) auditAtMs = nowMs + auditMs;
        const suspects = new Set(portsWithoutLink(ovs.ports().values(), hasLink, { all }));
        for (const name of suspectSinceMs.keys()) {
          if (!ovs.ports().has(name) || hasLink(name)) suspectSinceMs.delete(name);
        }
        for (const name of suspects) if (!suspectSinceMs.has(name)) suspectSinceMs.set(name, nowMs);
        const due = [...suspectSinceMs].filter(([, sinceMs]) => nowMs - sinceMs >= apartMs).map(([name]) => name);
        // All at once: they share transactions, and vswitchd looks at its ports only once for each.
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
