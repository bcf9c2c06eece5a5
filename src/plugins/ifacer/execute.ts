import { assertNever } from "#base";
import type { Rtnl } from "#linux";
import type { Operation } from "./plan.ts";

/**
 * Carries out a plan. Synchronous, so that nothing of this process comes between the look at the node and the change. Where
 * one operation fails, those before it are taken back, newest first: no half-made bond is left, and interfaces that were
 * up are up again.
 *
 * @throws LinuxError of the operation that failed
 */
export function execute(rtnl: Rtnl, operations: readonly Operation[]): void {
  const undo: (() => void)[] = [];
  try {
    for (const operation of operations) {
      // Three steps, of which any may fail.
      if (operation.do === "enslave") undo.push(() => release(rtnl, operation));
      perform(rtnl, operation);
      // Only after it was made: one that existed before is somebody else's.
      if (isMade(operation)) undo.push(() => rtnl.deleteLink(operation.name, { tolerate: ["ENODEV"] }));
    }
  } catch (error) {
    for (const act of undo.reverse()) act();
    throw error;
  }
}

function isMade({ do: what }: Operation): boolean {
  return what === "make bond" || what === "make VLAN";
}

/** Gone meanwhile, it needs nothing. */
function release(rtnl: Rtnl, { name, wasUp }: Extract<Operation, { readonly do: "enslave" }>): void {
  if (rtnl.link(name) === undefined) return;
  rtnl.setLink(name, { master: null });
  rtnl.setLink(name, { up: wasUp });
}

function perform(rtnl: Rtnl, operation: Operation): void {
  switch (operation.do) {
    case "make bond": {
      const { name, mode, options } = operation;
      rtnl.createLink({ name, kind: { kind: "bond", mode, options } });
      break;
    }
    case "enslave":
      // A bond takes interfaces that are down.
      rtnl.setLink(operation.name, { up: false });
      rtnl.setLink(operation.name, { master: operation.bond });
      rtnl.setLink(operation.name, { up: true });
      break;
    case "activate":
      rtnl.setBond(operation.bond, { active_slave: rtnl.link(operation.name)?.index ?? 0 });
      break;
    case "make VLAN": {
      const { name, parent, id } = operation;
      rtnl.createLink({ name, kind: { kind: "vlan", parent, id } });
      break;
    }
    case "up":
      rtnl.setLink(operation.name, { up: true });
      break;
    default:
      assertNever(operation);
  }
}
