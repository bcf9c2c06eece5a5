import { annotations, type SpiderIPAddress, type SpiderIPAddressSpec } from "#api";
import { type Ip, parseClaimName, tryParseClaimName } from "#ip";
import { type Claim, claimOf } from "#ledger";
import { once } from "../interned.ts";
import { Packed, packUid, unpackUid } from "../packed.ts";

/**
 * A Pod's claim (nearly all are) in a third of the memory of the whole object, because there may be 300,000. It has flat fields,
 * only those that a view or a decision reads, and builds the object's parts when they are read.
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
  readonly #waiting: number | undefined;

  /** `object` must have purpose Pod and the address that its name says. */
  constructor({ metadata, spec }: SpiderIPAddress) {
    super(metadata);
    const { node = "", podNamespace = "", podName = "", podUID = "", nic = "", owner, waiting } = spec;
    this.#pool = once(spec.pool);
    this.#poolUid = once(spec.poolUID);
    this.#poolGeneration = spec.poolGeneration;
    this.#node = once(node);
    this.#namespace = once(podNamespace);
    this.#pod = podName;
    this.#podUid = packUid(podUID);
    this.#nic = once(nic);
    this.#owner = owner && once(owner);
    this.#waiting = waiting;
  }

  get ip(): Ip {
    return lastIp.of(this, () => parseClaimName(this.name));
  }

  get spec(): SpiderIPAddressSpec {
    return lastSpec.of(this, () => this.#unpack());
  }

  #unpack(): SpiderIPAddressSpec {
    const owner = this.#owner;
    const waiting = this.#waiting;
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
      ...(waiting !== undefined && { waiting }),
    };
  }
}

/** A part of the object that was read last: whoever looks at a claim reads its parts several times, and then those of the next. */
class Last<T> {
  #of: KeptClaim | undefined;
  #part: T | undefined;

  of(claim: KeptClaim, make: () => T): T {
    if (this.#of !== claim || this.#part === undefined) this.#part = make();
    this.#of = claim;
    return this.#part;
  }
}

const lastIp = new Last<Ip>();
const lastSpec = new Last<SpiderIPAddressSpec>();

/** The `spec.address` of a claim of this name. */
function addressOf(name: string): string {
  return name.replaceAll("-", ":");
}

/** The decoded claim; undefined if its name is not an address. Decodes each object once. */
export function keptClaimOf(object: SpiderIPAddress): Claim | undefined {
  return object instanceof KeptClaim ? object : claimOf(object);
}

/** Drops fields that no view and no decision reads. */
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
