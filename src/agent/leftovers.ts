import type { Clock, Logger, Signal } from "#base";
import { runController } from "#kube";
import type { Ovs, OvsPort } from "#ovsdb";

/** A port without a link may be one whose link is just being made: only what is seen twice, so far apart, is left over. */
const apartMs = 30_000;
const everyPort = "ports";

export interface LeftoversOptions {
  readonly ovs: Ovs;
  /** False where the host has no network device of this name: it went with its Pod's namespace. */
  readonly hasLink: (name: string) => boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Ports of ours whose network device is gone: of Pods that ended while nobody looked, or before a reboot. Open vSwitch marks
 * them with an error; only for those is the kernel asked.
 */
export function portsWithoutLink(ports: Iterable<OvsPort>, hasLink: (name: string) => boolean): readonly string[] {
  return [...ports]
    .filter(({ owner, error }) => owner !== undefined && error !== undefined && error !== "")
    .map(({ name }) => name)
    .filter((name) => !hasLink(name));
}

/**
 * Takes left-over ports off their bridges, in the background: hundreds of them cost an ADD nothing. Runs when the database
 * tells of a change (Open vSwitch marks a port whose device went), and again when a suspect is due for its second look.
 */
export function runLeftovers({ ovs, hasLink, clock, log }: LeftoversOptions, { signal }: Signal): Promise<void> {
  const suspectSinceMs = new Map<string, number>();
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
            return ovs.changed(() => add(everyPort));
          },
        },
      ],
      reconcile: async (_key, o) => {
        const nowMs = clock.monotonicMs();
        const suspects = new Set(portsWithoutLink(ovs.ports().values(), hasLink));
        for (const name of suspectSinceMs.keys()) if (!suspects.has(name)) suspectSinceMs.delete(name);
        for (const name of suspects) {
          const sinceMs = suspectSinceMs.get(name) ?? nowMs;
          suspectSinceMs.set(name, sinceMs);
          if (nowMs - sinceMs < apartMs) continue;
          await ovs.detach(name, o);
          suspectSinceMs.delete(name);
          log.info({ port: name }, "left-over port removed: its network device is gone");
        }
        return suspectSinceMs.size === 0 ? {} : { afterMs: apartMs };
      },
    },
    { signal },
  );
}
