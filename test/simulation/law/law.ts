import type { SpiderIPAddressSpec } from "#api";
import { claimName, formatIp, type IpSet, parseIp, parseIpSet, tryParseClaimName, tryParseIp } from "#ip";
import { isOver, type Sandbox } from "../cluster/kubelet.ts";
import type { Machine, Namespace } from "../cluster/machine.ts";
import type { Author, Change, KubeObject, Server } from "../cluster/server.ts";
import { isFenced } from "../people/registrations.ts";
import { epochMs } from "../runtime/process.ts";
import type { Time } from "../runtime/time.ts";
import { KeptLaw } from "./kept.ts";
import { familyOf, PartsLaw } from "./parts.ts";
import { claimTable, poolTable } from "./tables.ts";
import { Violation } from "./violation.ts";
import { WritesLaw } from "./writes.ts";

/** Fields that another sandbox of the same holder changes. */
const ofSandbox: ReadonlySet<string> = new Set(["containerID", "bootID"]);
/** Fields that no write changes. */
const immutable: ReadonlySet<string> = new Set(["format", "address", "pool", "poolUID", "poolGeneration"]);

interface Judged {
  readonly set: IpSet;
  readonly uid: string;
}

/** A registration is not older news for who looked before it. */
const justMs = 5_000;
/** No ADD takes longer: whoever answered before it began was there to be met. */
const addMsMax = 60_000;

interface LawOptions {
  readonly server: Server;
  readonly time: Time;
  readonly machines: readonly Machine[];
  readonly onViolation: (violation: Violation) => void;
}

/** What must hold at every moment. It hears of each write, each address on the wire, each answer. */
export class Law {
  readonly #options: LawOptions;
  /** What each generation of each pool may hand out. */
  readonly #sets = new Map<string, Judged>();
  /** Pods that were there once, by the UID that a runtime may give. */
  readonly #pods = new Set<string>();
  /** Which claims a Pod's NIC has in a family. */
  readonly #keys = new Map<string, string>();
  readonly #goneUids = new Set<string>();
  /** UIDs of claims that an ADD was answered with. */
  readonly #told = new Set<string>();
  /** UIDs of claims of which a node's records told before a boot took the last copy: it looks for them in the ledger. */
  readonly #forgotten = new Set<string>();
  /** Who uses an address whose claim somebody deleted: until that is noticed, others may have it, too. By {@link useOf}. */
  readonly #robbed = new Set<string>();

  readonly #kept: KeptLaw;
  readonly #parts: PartsLaw;

  constructor(options: LawOptions) {
    this.#options = options;
    const { server } = options;
    this.#kept = new KeptLaw(server, poolTable);
    this.#parts = new PartsLaw({ server, poolTable, claimTable, guard: (check) => this.#guard(check) });
    const writes = new WritesLaw(server);
    server.onAsked = (author) => this.#guard(() => writes.asked(author));
    server.store.listen(poolTable, (change) => this.#guard(() => this.#poolChanged(change)));
    server.store.listen("/pods", ({ object }) => {
      for (const uid of uidsOf(object)) this.#pods.add(uid);
    });
    server.store.listen(claimTable, (change) => this.#guard(() => this.#claimChanged(change, server.author)));
    for (const machine of options.machines) {
      machine.onAddressed = (namespace, ips) => this.#guard(() => this.#addressed(machine, namespace, ips));
    }
  }

  /** An ADD has just been answered. */
  answered(machine: Machine, sandbox: Sandbox): void {
    this.#guard(() => {
      for (const [nic, { ips }] of sandbox.namespace.links) {
        if (new Set(ips.map((ip) => ip.includes(":"))).size < ips.length) {
          throw new Violation("one address for a NIC and family", `${nic} of ${sandbox.containerId} has ${ips}`);
        }
        for (const ip of ips) {
          if (this.#robbed.has(useOf(sandbox.namespace.podUid, ip))) continue;
          const claim = this.#claimOn(ip);
          if (claim !== undefined && specOf(claim).podUID === sandbox.namespace.podUid && specOf(claim).nic === nic) {
            this.#told.add(claim.metadata.uid);
            this.#isOf(claim, machine, sandbox);
            this.#kept.answered(ip, specOf(claim));
            continue;
          }
          throw new Violation(
            "each NIC of an answered ADD has its claim",
            `${nic} of ${sandbox.containerId} on ${machine.name} has ${ip}; the ledger says ${holderOf(claim)}`,
          );
        }
      }
    });
  }

  /** The claim names the sandbox that has it: a release that was decided before must not hit it. */
  #isOf({ metadata, ...rest }: KubeObject, machine: Machine, { containerId, namespace }: Sandbox): void {
    const { containerID } = specOf({ metadata, ...rest } as KubeObject);
    const ofPod = [...machine.namespaces.values()].filter(({ podUid }) => podUid === namespace.podUid);
    if (containerID === containerId || ofPod.length > 1) return;
    throw new Violation(
      "a claim names the sandbox that has it",
      `${metadata.name} names ${containerID}, not ${containerId}`,
    );
  }

  /** All copies of the machine's records are gone. */
  forget({ name }: Machine): void {
    for (const claim of this.#options.server.store.list(claimTable)) {
      if (specOf(claim).node === name) this.#forgotten.add(claim.metadata.uid);
    }
  }

  /** Somebody deleted the claim of an address that the Pod uses, or used: it may have been cut off since. */
  isRobbed(podUid: string): boolean {
    return [...this.#robbed].some((use) => use.startsWith(`${podUid} `));
  }

  /** The server is about to be put back to an earlier state: what was told since is not so any more. */
  rewound(): void {
    this.#kept.forget();
  }

  #guard(check: () => void): void {
    try {
      check();
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      this.#options.onViolation(error);
    }
  }

  #addressed(machine: Machine, namespace: Namespace, ips: readonly string[]): void {
    for (const ip of ips) {
      const foreignMs = this.#options.time.nowMs - (machine.wire?.foreign.get(ip) ?? Number.POSITIVE_INFINITY);
      if (machine.detects && foreignMs > addMsMax) {
        throw new Violation("no Pod gets an address for which a foreign host answers", `${ip} on ${machine.name}`);
      }
      for (const other of this.#options.machines) {
        // What a machine without a Node has is given to others after a while: it is cut off when it is back.
        if (this.#options.server.get("/nodes", { name: other.name }) === undefined) continue;
        for (const { namespace: another, ip: taken } of other.answering()) {
          if (taken !== ip || another.podUid === namespace.podUid) continue;
          if (this.#robbed.has(useOf(another.podUid, ip))) continue;
          throw new Violation(
            "no address is answered by two Pods",
            `${ip} is in ${namespace.containerId} on ${machine.name} and in ${another.containerId} on ${other.name}`,
          );
        }
      }
      const claim = this.#claimOn(ip);
      if (this.#robbed.has(useOf(namespace.podUid, ip))) continue;
      if (claim === undefined || specOf(claim).podUID !== namespace.podUid) {
        throw new Violation(
          "who uses an address has its claim",
          `${namespace.containerId} on ${machine.name} took ${ip}; the ledger says ${holderOf(claim)}`,
        );
      }
    }
  }

  #claimChanged({ type, object, previous }: Change, author: Author | undefined): void {
    const now = type === "DELETED" ? undefined : specOf(object);
    const before = previous && specOf(previous);
    const name = object.metadata.name;
    this.#countKeys(name, before, now);
    if (before !== undefined && now === undefined && author === undefined) this.#rob(before);
    if (now !== undefined) this.#robbed.delete(useOf(now.podUID, formatIp(parseIp(now.address))));
    if (author === undefined) return; // A person, who may do anything.
    this.#checkPreconditions(author, type, name);
    if (before === undefined && now !== undefined) this.#created(name, now, author);
    else if (before !== undefined && now !== undefined) this.#changed(name, before, now, author);
    else if (before !== undefined) this.#released(object, before, author);
  }

  #rob({ podUID, address }: SpiderIPAddressSpec): void {
    const ip = formatIp(parseIp(address));
    this.#robbed.add(useOf(podUID, ip));
    this.#kept.setAside(ip);
  }

  /** At most one claim for a Pod's NIC and family. */
  #countKeys(name: string, before: SpiderIPAddressSpec | undefined, now: SpiderIPAddressSpec | undefined): void {
    const key = (spec: SpiderIPAddressSpec) => `${spec.podUID}/${spec.nic ?? spec.slot}/${spec.address.includes(":")}`;
    const counts = (spec: SpiderIPAddressSpec | undefined) =>
      spec !== undefined && (spec.purpose === "Pod" || spec.purpose === "Sticky") && (spec.podUID ?? "") !== "";
    if (before !== undefined && counts(before) && this.#keys.get(key(before)) === name) this.#keys.delete(key(before));
    if (now === undefined || !counts(now)) return;
    const other = this.#keys.get(key(now));
    if (other !== undefined && other !== name && !this.#isLost(other, now)) {
      throw new Violation("one claim for a Pod's NIC and family", `${key(now)} has ${other} and ${name}`);
    }
    this.#keys.set(key(now), name);
  }

  /** A boot took all that was known of an ADD that was never answered, or of one that was, after its record was lost: the claim
   * is nobody's until it is looked for. */
  #isLost(name: string, { bootID }: SpiderIPAddressSpec): boolean {
    const other = this.#options.server.get(claimTable, { name });
    if (other === undefined) return false;
    const { uid } = other.metadata;
    return this.#forgotten.has(uid) || (specOf(other).bootID !== bootID && !this.#told.has(uid));
  }

  /** A write says which state it was decided on. */
  #checkPreconditions({ asked, process }: Author, type: string, name: string): void {
    const { verb, request } = asked;
    const body = JSON.parse(Buffer.from(request.body ?? "{}").toString());
    const missing =
      type === "DELETED"
        ? body.preconditions?.uid === undefined || body.preconditions?.resourceVersion === undefined
        : verb !== "create" && (body.metadata?.resourceVersion ?? "") === "";
    if (missing)
      throw new Violation("every write names what it was decided on", `${verb} of ${name} by ${process.name}`);
  }

  #created(name: string, spec: SpiderIPAddressSpec, author: Author): void {
    const by = author.process.name;
    this.#parts.held(name, spec, author);
    if (spec.purpose === "Pod" || spec.purpose === "Sticky") {
      if (by !== `agent ${spec.node}`) throw illegal(`${name} was claimed for ${spec.node} by ${by}`);
      if (!this.#pods.has(spec.podUID ?? "")) throw illegal(`${name} was claimed for ${spec.podUID}, which never was`);
    }
    const judged = this.#sets.get(`${spec.poolUID}/${spec.poolGeneration}`);
    const ip = tryParseIp(spec.address);
    if (ip === undefined || judged?.set.contains(ip) !== true) {
      throw new Violation(
        "an address is in the set of its pool's generation",
        `${name} of ${spec.pool}, generation ${spec.poolGeneration}`,
      );
    }
    if (this.#goneUids.has(spec.poolUID)) {
      throw new Violation("nobody claims from a pool that is gone", `${name} of ${spec.pool} by ${by}`);
    }
  }

  #changed(name: string, before: SpiderIPAddressSpec, now: SpiderIPAddressSpec, { process }: Author): void {
    const fields = [...new Set([...Object.keys(before), ...Object.keys(now)])] as (keyof SpiderIPAddressSpec)[];
    const changed = fields.filter((field) => before[field] !== now[field]);
    const fixed = changed.filter((field) => immutable.has(field));
    if (fixed.length > 0) throw illegal(`${fixed} of ${name} can't change, and was changed by ${process.name}`);
    const byHolder = process.name === `agent ${before.node}`;
    const byController = process.name.startsWith("controller");
    const detaches = before.purpose === "Sticky" && now.purpose === "Sticky" && now.node === undefined;
    const legal =
      (byHolder && changed.every((field) => ofSandbox.has(field))) ||
      (byHolder && now.purpose === "Quarantine" && now.mac !== undefined) ||
      (byHolder && detaches) ||
      (before.purpose === "Sticky" && before.node === undefined && process.name === `agent ${now.node}`) ||
      (byController && now.purpose === "Quarantine" && now.unclean === true) ||
      (byController && detaches && now.unclean === true);
    if (now.purpose === "Quarantine") this.#kept.setAside(formatIp(parseIp(now.address)));
    if (!legal) throw illegal(`${changed} of ${name}, of ${before.node}, was changed by ${process.name}`);
    if (byController && this.#isAlive(before.podUID)) {
      throw new Violation("the claim of a living Pod is not collected", `${name}, by ${process.name}`);
    }
  }

  /** Whether a Pod with this UID is there, and not on its way out. */
  #isAlive(uid: string | undefined): boolean {
    return this.#options.server.store
      .list("/pods")
      .some((pod) => uidsOf(pod).includes(uid ?? "") && pod.metadata.deletionTimestamp === undefined && !isOver(pod));
  }

  #released({ metadata }: KubeObject, spec: SpiderIPAddressSpec, { process }: Author): void {
    const { name } = metadata;
    const byController = process.name.startsWith("controller");
    // What is set aside tells who had it last; that Pod may live, with another address.
    if (byController && spec.purpose !== "Quarantine" && this.#isAlive(spec.podUID)) {
      throw new Violation("the claim of a living Pod is not collected", `${name}, by ${process.name}`);
    }
    if (byController && spec.purpose === "Pod" && this.#isRegistered(spec.node ?? "")) {
      throw illegal(`${name} was released by ${process.name} while its node ${spec.node} is registered`);
    }
    // A detached claim is nobody's: the Pod's next node gives it up where its pool is not asked for any more.
    const isDetached = spec.purpose === "Sticky" && spec.node === undefined;
    if (!byController && !isDetached && process.name !== `agent ${spec.node}`) {
      throw illegal(`${name} of ${spec.node} was released by ${process.name}`);
    }
    if (byController && spec.purpose === "Sticky" && !isDetached) {
      throw illegal(`${name} is attached on ${spec.node}, and was released by ${process.name}`);
    }
    this.#kept.released(formatIp(parseIp(spec.address)), spec, process.name);
    const ip = tryParseClaimName(name);
    for (const machine of this.#options.machines) {
      if (this.#options.server.get("/nodes", { name: machine.name }) === undefined) continue;
      for (const { namespace, ip: used } of machine.answering()) {
        if (ip === undefined || used !== formatIp(ip) || namespace.podUid !== spec.podUID) continue;
        throw new Violation(
          "no claim goes while a sandbox uses it",
          `${name}, in ${namespace.containerId} on ${machine.name}, was released by ${process.name}`,
        );
      }
    }
  }

  /** A node that registers just now may have been absent when it was looked for; one that is fenced is as good as absent. */
  #isRegistered(name: string): boolean {
    const { server, time } = this.#options;
    const node = server.get("/nodes", { name });
    if (node === undefined || isFenced(node)) return false;
    return epochMs + time.nowMs - Date.parse(node.metadata.creationTimestamp ?? "") > justMs;
  }

  #poolChanged({ type, object }: Change): void {
    const { uid, name, generation } = object.metadata;
    const family = familyOf(object);
    const spec = object["spec"] as { readonly ips?: readonly string[]; readonly excludeIPs?: readonly string[] };
    const set = parseIpSet(spec.ips ?? [], family).subtract(parseIpSet(spec.excludeIPs ?? [], family));
    this.#sets.set(`${uid}/${generation}`, { set, uid });
    this.#goneUids.delete(uid);
    if (type !== "DELETED") return;
    this.#goneUids.add(uid);
    for (const claim of this.#options.server.store.list(claimTable)) {
      if (specOf(claim).poolUID !== uid) continue;
      throw new Violation("a pool goes after its claims", `${name} went, ${claim.metadata.name} is still claimed`);
    }
  }

  #claimOn(ip: string): KubeObject | undefined {
    const parsed = tryParseIp(ip);
    return parsed && this.#options.server.get(claimTable, { name: claimName(parsed) });
  }
}

function useOf(podUid: string | undefined, ip: string): string {
  return `${podUid} ${ip}`;
}

function holderOf(claim: KubeObject | undefined): string {
  return claim === undefined ? "it is free" : `it is ${specOf(claim).nic} of ${specOf(claim).podUID}`;
}

function illegal(seen: string): Violation {
  return new Violation("only the transitions of the ledger's table", seen);
}

export function specOf(claim: KubeObject): SpiderIPAddressSpec {
  return claim["spec"] as SpiderIPAddressSpec;
}

/** The UIDs under which a runtime may know the Pod. */
export function uidsOf({ metadata }: KubeObject): readonly string[] {
  const hash = metadata.annotations?.["kubernetes.io/config.hash"];
  return hash === undefined ? [metadata.uid] : [metadata.uid, hash];
}
