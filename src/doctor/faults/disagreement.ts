/** What the sources of addresses can disagree about, for `check` and the metrics of agent and controller. */
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

/** What one source says. */
export interface Fact {
  readonly text: string;
  readonly readAt: Date;
}

/** What is to be mended on a node. */
type FaultTarget =
  | { readonly kind: "port"; readonly name: string }
  | { readonly kind: "host-links" }
  | { readonly kind: "sandboxes"; readonly containerIds: readonly string[] }
  | { readonly kind: "route"; readonly dst: string; readonly dev: string; readonly table: number };

/** Two facts that cannot both hold. */
export interface Disagreement {
  readonly kind: FaultKind;
  /** `default/web-0`, `172.18.30.131`, `port veth1a2b3c`, `spiderippool/a`. */
  readonly object: string;
  /** The same in every observation of the same fault. */
  readonly key: string;
  /** The address that a release would mend. */
  readonly address?: string;
  /** What its node's agent has to see to; absent if the agent mends nothing. */
  readonly target?: FaultTarget;
  readonly one: Fact;
  readonly other: Fact;
}

/** A disagreement as JSON has it: dates are texts. */
export type DisagreementJson = Omit<Disagreement, "one" | "other"> & {
  readonly [K in "one" | "other"]: { readonly text: string; readonly readAt: string };
};

/** The inverse of what JSON makes of a disagreement. */
export function parseDisagreement({ one, other, ...rest }: DisagreementJson): Disagreement {
  const dated = ({ text, readAt }: DisagreementJson["one"]) => ({ text, readAt: new Date(readAt) });
  return { ...rest, one: dated(one), other: dated(other) };
}
