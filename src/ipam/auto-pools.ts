import { type ApplicationName, labels, labelValue } from "#api";
import type { Family } from "#ip";
import type { PoolView } from "./pool.ts";
import type { SubnetsOfNic } from "./subnet-annotations.ts";

/** The kinds of applications that the controller makes automatic pools for, as `group/version Kind`. */
export const autoPoolKinds = [
  "apps/v1 Deployment",
  "apps/v1 ReplicaSet",
  "apps/v1 StatefulSet",
  "apps/v1 DaemonSet",
  "batch/v1 Job",
  "batch/v1 CronJob",
] as const;

/** Whether an application of this kind gets automatic pools. */
export function hasAutoPools({ apiGroup, apiVersion, kind }: ApplicationName): boolean {
  return autoPoolKinds.some((one) => one === `${apiGroup}/${apiVersion} ${kind}`);
}

/** The Pod's top controller. */
export interface OwnerFacts extends ApplicationName {
  readonly uid: string;
}

/** The application, NIC and family that an automatic pool is made for. */
export interface AutoPoolOwner extends ApplicationName {
  readonly uid: string;
  readonly nic: string;
  readonly family: Family;
}

/** `auto4-web-eth0-9a2b3`: family, application (cut if the name would be too long), NIC, beginning of the UID's last part. */
export function autoPoolName({ family, name, nic, uid }: AutoPoolOwner): string {
  const end = (uid.split("-").at(-1) ?? "").slice(0, 5);
  const [head, tail] = [`auto${family}-`, `-${nic}-${end}`].map((part) =>
    part.toLowerCase().replace(/[^a-z0-9.-]/g, "-"),
  );
  const room = 253 - `${head}${tail}`.length;
  return `${head}${name.slice(0, room).replace(/[.-]+$/, "")}${tail}`.replace(/\.(?![a-z0-9])|(?<![a-z0-9])\./g, "-");
}

/** The labels of an automatic pool that say what it is made for. */
export function autoPoolLabels(owner: AutoPoolOwner): Readonly<Record<string, string>> {
  const { apiGroup, apiVersion, kind, namespace, name, uid, nic, family } = owner;
  return {
    [labels.ownerApplicationGv]: apiGroup === "" ? apiVersion : `${apiGroup}_${apiVersion}`,
    [labels.ownerApplicationKind]: kind,
    [labels.ownerApplicationNamespace]: namespace,
    [labels.ownerApplicationName]: labelValue(name),
    [labels.ownerApplicationUid]: uid,
    [labels.interface]: labelValue(nic),
    [labels.ipVersion]: `IPv${family}`,
  };
}

/** `podAffinity.matchLabels` of an automatic pool. They are compared with the Pod's top controller, not with a Pod's labels. */
export function applicationLabels(owner: ApplicationName | undefined): Readonly<Record<string, string>> {
  if (owner === undefined) return {};
  return {
    [labels.appApiGroup]: owner.apiGroup,
    [labels.appApiVersion]: owner.apiVersion,
    [labels.appKind]: owner.kind,
    [labels.appNamespace]: owner.namespace,
    [labels.appName]: labelValue(owner.name),
  };
}

/** The names of an application's automatic pools for one NIC, by family and sorted. */
export function autoPoolsOf(
  pools: Iterable<PoolView>,
  owner: OwnerFacts,
  subnets: SubnetsOfNic,
): Readonly<Record<Family, readonly string[]>> {
  const found = [...pools].filter(
    ({ madeFor, family }) =>
      madeFor?.uid === owner.uid &&
      madeFor.nic === labelValue(subnets.nic) &&
      madeFor.subnet === labelValue(subnets[family] ?? ""),
  );
  const names = (family: Family) =>
    found
      .filter((pool) => pool.family === family)
      .map(({ name }) => name)
      .sort();
  return { 4: names(4), 6: names(6) };
}
