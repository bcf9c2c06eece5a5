/** The kinds of contradictions between sources of addresses, for `check` and for the metrics of agent and controller. */
export const faultKinds = [
  "claim-without-pod",
  "pod-without-claim",
  "wrong-uid",
  "view-differs",
  "port-without-namespace",
  "veth-without-port",
  "one-address-twice",
  "stale-host-route",
] as const;

/** One of {@link faultKinds}: the label `kind` of the metric. */
export type FaultKind = (typeof faultKinds)[number];

/** What one source says, and when it was read. */
export interface Fact {
  readonly text: string;
  readonly readAt: Date;
}

/** What the agent repairs on its node. */
type FaultTarget =
  | { readonly kind: "port"; readonly name: string }
  | { readonly kind: "host-links" }
  | { readonly kind: "sandboxes"; readonly containerIds: readonly string[] }
  | { readonly kind: "route"; readonly dst: string; readonly dev: string; readonly table: number };

/** Two facts that cannot both be true. */
export interface Disagreement {
  readonly kind: FaultKind;
  /** What the facts are about: `default/web-0`, `172.18.30.131`, `port veth1a2b3c`, `spiderippool/a`. */
  readonly object: string;
  /** The same in every observation of the same fault. */
  readonly key: string;
  /** The address whose release would repair it. */
  readonly address?: string;
  /** What the node's agent has to repair; absent if it can repair nothing. */
  readonly target?: FaultTarget;
  readonly one: Fact;
  readonly other: Fact;
}

/** A disagreement in JSON, where times are texts. */
export type DisagreementJson = Omit<Disagreement, "one" | "other"> & {
  readonly [K in "one" | "other"]: { readonly text: string; readonly readAt: string };
};

/** Restores a disagreement from JSON. */
export function parseDisagreement({ one, other, ...rest }: DisagreementJson): Disagreement {
  const dated = ({ text, readAt }: DisagreementJson["one"]) => ({ text, readAt: new Date(readAt) });
  return { ...rest, one: dated(one), other: dated(other) };
}
