import type { Deployment } from "./kinds.ts";

/** One ReplicaSet of a Deployment, as far as a rolling update cares. */
export interface Generation {
  readonly name: string;
  readonly replicas: number;
  readonly available: number;
}

/** How many Pods a Deployment may have above, and must have available below, its wanted number. */
interface Bounds {
  readonly wanted: number;
  readonly maxSurge: number;
  readonly maxUnavailable: number;
}

/** The bounds in absolute numbers: percentages of surge are rounded up, of unavailability down; both may not be zero. */
export function boundsOf({ spec: { replicas: wanted = 1, strategy } }: Deployment): Bounds {
  const absolute = (given: string | number = "25%", round: (n: number) => number) =>
    typeof given === "number" ? given : round((Number.parseInt(given, 10) * wanted) / 100);
  const maxSurge = absolute(strategy?.rollingUpdate?.maxSurge, Math.ceil);
  const maxUnavailable = absolute(strategy?.rollingUpdate?.maxUnavailable, Math.floor);
  return { wanted, maxSurge, maxUnavailable: maxSurge + maxUnavailable === 0 ? 1 : maxUnavailable };
}

/**
 * The next step of a rolling update: how many Pods each ReplicaSet should have now. `old` is ordered from the oldest.
 * Never asks for more than `wanted + maxSurge` Pods in all, unless there are already more, and never takes away a Pod that is
 * available while fewer than `wanted - maxUnavailable` would stay. Pure.
 */
export function nextStep(current: Generation, old: readonly Generation[], bounds: Bounds): ReadonlyMap<string, number> {
  const { wanted, maxSurge, maxUnavailable } = bounds;
  const total = [current, ...old].reduce((sum, { replicas }) => sum + replicas, 0);
  const room = Math.max(0, wanted + maxSurge - total);
  const grown = Math.min(wanted, current.replicas + room);
  const targets = new Map([[current.name, grown]]);
  const mustStay = wanted - maxUnavailable;
  // Removing unavailable Pods never reduces availability; keep as many as the bounds need until new Pods exist.
  let removable = Math.max(0, total - mustStay - Math.max(0, current.replicas - current.available));
  let spare = Math.max(0, [current, ...old].reduce((sum, { available }) => sum + available, 0) - mustStay);
  for (const set of old) {
    const broken = Math.min(removable, Math.max(0, set.replicas - set.available));
    const healthy = Math.min(removable - broken, spare, set.replicas - broken);
    removable -= broken + healthy;
    spare -= healthy;
    targets.set(set.name, set.replicas - broken - healthy);
  }
  return targets;
}
