import { assertNever } from "#base";
import type { Rtnl } from "#linux";
import type { Operation } from "./plan.ts";

/**
 * Carries out a plan. It is synchronous, so that nothing else in this process changes the node after it was observed. If an
 * operation fails, those before it are undone, newest first: no half-made bond is left, and interfaces that were up are up
 * again.
 *
 * @throws LinuxError of the operation that failed
 */
export function execute(rtnl: Rtnl, operations: readonly Operation[]): void {
  const undo: (() => void)[] = [];
  try {
    for (const operation of operations) {
      // Registered before the act, because each of its three steps may fail.
      if (operation.do === "enslave") undo.push(() => release(rtnl, operation));
      perform(rtnl, operation);
      // Registered after the act, because a link that existed before belongs to somebody else.
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

/** Takes an interface out of its bond. One that is gone by now needs nothing. */
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
      // A bond accepts only interfaces that are down.
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
