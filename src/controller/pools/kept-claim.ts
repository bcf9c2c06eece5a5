import { annotations, type SpiderIPAddress, type SpiderIPAddressSpec } from "#api";
import { type Ip, parseClaimName, tryParseClaimName } from "#ip";
import { type Claim, claimOf } from "#ledger";
import { once } from "../interned.ts";
import { Packed, packUid, unpackUid } from "../packed.ts";

/**
 * A Pod's claim, as nearly all are, in a third of the memory of the object that it stands for: there may be 300,000. It is flat,
 * has only what a view or a decision reads, and makes the object's parts, and the claim's, when they are asked for.
 */
export class KeptClaim extends Packed implements SpiderIPAddress, Claim {
  readonly #pool: string;
  readonly #poolUid: string;
  readonly #poolGeneration: number;
  readonly #node: string;
  readonly #namespace: string;
  readonly #pod: string;
  readonly #podUid: string;
  readonly #nic: string;
  readonly #owner: string | undefined;

  /** `object`: one of purpose Pod with the address that its name tells. */
  constructor({ metadata, spec }: SpiderIPAddress) {
    super(metadata);
    const { node = "", podNamespace = "", podName = "", podUID = "", nic = "", owner } = spec;
    this.#pool = once(spec.pool);
    this.#poolUid = once(spec.poolUID);
    this.#poolGeneration = spec.poolGeneration;
    this.#node = once(node);
    this.#namespace = once(podNamespace);
    this.#pod = podName;
    this.#podUid = packUid(podUID);
    this.#nic = once(nic);
    this.#owner = owner && once(owner);
  }

  get ip(): Ip {
    return parseClaimName(this.name);
  }

  get spec(): SpiderIPAddressSpec {
    const owner = this.#owner;
    return {
      format: 1,
      address: addressOf(this.name),
      purpose: "Pod",
      pool: this.#pool,
      poolUID: this.#poolUid,
      poolGeneration: this.#poolGeneration,
      node: this.#node,
      podNamespace: this.#namespace,
      podName: this.#pod,
      podUID: unpackUid(this.#podUid),
      nic: this.#nic,
      ...(owner !== undefined && { owner }),
    };
  }
}

/** What `spec.address` is for a claim of this name. */
function addressOf(name: string): string {
  return name.replaceAll("-", ":");
}

/** The claim, decoded once; undefined for one whose name is no address. */
export function keptClaimOf(object: SpiderIPAddress): Claim | undefined {
  return object instanceof KeptClaim ? object : claimOf(object);
}

/** Drops what no view and no decision reads. */
export function trimClaim(object: SpiderIPAddress): SpiderIPAddress {
  const { metadata, spec } = object;
  const { name, uid, resourceVersion } = metadata;
  const forced = metadata.annotations?.[annotations.forceRelease];
  const isPlain = spec.purpose === "Pod" && forced === undefined && spec.address === addressOf(name);
  if (isPlain && tryParseClaimName(name) !== undefined) return new KeptClaim(object);
  const marked = forced !== undefined && { annotations: { [annotations.forceRelease]: forced } };
  return { metadata: { name, uid, resourceVersion, ...marked }, spec: trimSpec(spec) };
}

function trimSpec(spec: SpiderIPAddressSpec): SpiderIPAddressSpec {
  const {
    answer: _answer,
    network: _network,
    ownerUID: _owner,
    bootID: _boot,
    containerID: _container,
    nextContainerID: _nextContainer,
    since: _since,
    ...kept
  } = spec;
  return kept;
}
