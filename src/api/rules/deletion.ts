import type { KubeObject } from "#kube";
import type { Settings } from "../config.ts";

/**
 * Whether pools and subnets with addresses in use must not be deleted. Deleting a terminating object again is always allowed: the
 * controller does so with the pools of a deleted subnet.
 */
export function isDeletionGuarded(
  { metadata }: KubeObject,
  settings: Pick<Settings, "enableValidatingResourcesDeletedWebhook">,
): boolean {
  return settings.enableValidatingResourcesDeletedWebhook && metadata.deletionTimestamp === undefined;
}

/** Why a guarded object must not be deleted of which so many addresses are in use; undefined if none is. The wording is a contract. */
export function deletionRefusal(what: "IPPool" | "Subnet", inUse: number): string | undefined {
  return inUse === 0 ? undefined : `cannot delete an ${what} with allocated IPs(${inUse})`;
}
