import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { parse } from "yaml";
import { annotations } from "#api";
import { createLabClient, type KubeObject, type LabClient, textAt } from "../../lab/api/index.ts";
import type { LabHandle } from "../../lab/launch.ts";
import { Stage } from "../../lab/scenarios/stage.ts";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { launchProductLab } from "../../scripts/common/product-lab.ts";
import { runProgram } from "../../src/ctl/program.ts";

/** One failure; see cases.yaml. */
interface Case {
  readonly name: string;
  readonly area: "ipam" | "network" | "system";
  readonly objects?: readonly { readonly kind: string; readonly name: string; readonly spec: object }[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly before?: number;
  readonly node?: string;
  readonly hold?: string;
  readonly commands?: readonly string[];
  readonly whileHeld?: readonly string[];
  readonly code: string;
  readonly sentence: string;
  readonly pools?: readonly string[];
  readonly told?: "kubelet";
  readonly healed?: string;
  readonly cleanup?: string;
}

interface DoctorFinding {
  readonly id: string;
  readonly found: string;
  readonly fix: readonly string[];
}

const execute = promisify(execFile);
const cases = parse(readFileSync(new URL("./cases.yaml", import.meta.url), "utf8")) as readonly Case[];
const manifests = fileURLToPath(new URL("../../examples/ovs", import.meta.url));
const node = "node1";
const draws = { "ipam.spidernet.io/ippool": '{"ipv4":["ippool-test"]}' };
const resources: Readonly<Record<string, string>> = {
  SpiderIPPool: "spiderpool.spidernet.io/v2beta1/spiderippools",
  SpiderReservedIP: "spiderpool.spidernet.io/v2beta1/spiderreservedips",
  SpiderMultusConfig: "spiderpool.spidernet.io/v2beta1/spidermultusconfigs",
  NetworkAttachmentDefinition: "k8s.cni.cncf.io/v1/network-attachment-definitions",
};

/** Each failure is brought about, told in the same words everywhere, explained, and ended by the fix that is printed. */
describe("explain", () => {
  let lab: LabHandle;
  let stage: Stage;
  let client: LabClient;
  let kubectl: string;
  before(async () => {
    lab = await launchProductLab({ nodes: 1, bridges: true });
    kubectl = await findKubectl();
    stage = new Stage({ lab, kubectl, print: () => {} });
    client = createLabClient({ baseUrl: lab.url });
    for (const file of ["pool", "network"]) await stage.kubectl("apply", "-f", `${manifests}/${file}.yaml`);
    const nad = ["network-attachment-definition/ovs-conf", "-n", "kube-system", "--for=jsonpath={.spec.config}"];
    await stage.kubectl("wait", ...nad);
    await make({ kind: "SpiderIPPool", name: "any", spec: { subnet: "10.60.0.0/16", ips: ["10.60.0.10-10.60.0.90"] } });
    assert.deepEqual(stage.failures, []);
  });
  after(() => lab.stop());

  for (const one of cases) {
    it(`${one.area}: ${one.name}`, async () => {
      for (const object of one.objects ?? []) await make(object);
      for (let count = 0; count < (one.before ?? 0); count++) {
        await client.create("v1/pods", podOf(`${one.name}-before`, one));
        await ready(`${one.name}-before`);
      }
      for (const command of one.commands ?? []) await shell(command);
      if (one.hold !== undefined) await hold(one.hold, true);
      for (const command of one.whileHeld ?? []) await shell(command);
      if (one.node !== undefined) await onNode(one.node);
      try {
        const pod = await client.create("v1/pods", podOf(one.name, one));
        await told(one, pod);
        await explained(one, pod);
      } catch (error) {
        // The cases that follow are about something else.
        if (one.healed !== undefined) await onNode(one.healed).catch(() => "");
        throw error;
      } finally {
        await cleanUp(one);
      }
    });
  }

  async function told(one: Case, { metadata: { uid = "" } }: KubeObject): Promise<void> {
    const says = (text: string) => beginsWith(text, filled(one, uid)) || beginsWith(text, inNetwork(one, uid));
    const runtimes = textAt(
      await eventOn(one.name, uid, (event) => textAt(event, "reason") === "FailedCreatePodSandBox"),
      "message",
    );
    const [, answered = ""] = runtimes.split("failed (add): ");
    assert.ok(says(answered), `the runtime was answered: ${runtimes}`);
    if (one.told === "kubelet") return;
    const event = await eventOn(one.name, uid, (found) => codeOf(found) !== undefined);
    assert.equal(codeOf(event), one.code);
    assert.ok(says(textAt(event, "message")), textAt(event, "message"));
    assert.ok(textAt(event, "message").endsWith(`. See: spiderpoolctl explain pod ${one.name} -n default`));
  }

  async function explained(one: Case, { metadata: { uid = "" } }: KubeObject): Promise<void> {
    const { status, out } = await ctl("explain", "pod", one.name, "-n", "default");
    assert.equal(status, 1, out);
    const [first = "", second = ""] = out.split("\n");
    assert.ok(beginsWith(first, filled(one, uid)) || beginsWith(first, inNetwork(one, uid)), out);
    assert.match(second, new RegExp(`^  Pod default/${one.name} on node1 \\(waiting\\): ${one.code}(,|$)`));
    for (const pool of one.pools ?? []) assert.match(out, new RegExp(`^  [–✘] ${pool} +IPv[46] +\\S`, "m"));
    assert.match(out, new RegExp(`^See docs/reference/errors\\.md#${one.code.toLowerCase()}$`, "m"));
    const isThis = ({ found }: DoctorFinding) => found.startsWith(`Pod default/${one.name} on node1 `);
    const [waits] = (await waiting()).filter(isThis);
    assert.deepEqual(waits?.fix, [`spiderpoolctl explain pod ${one.name} -n default`]);
    const [command, where] = firstCommand(out);
    assert.notEqual(command, "", out);
    if (one.hold !== undefined) await hold(one.hold, false);
    else if (where !== "") await onNode(one.healed ?? command);
    else await shell(command);
    await ready(one.name);
    assert.equal((await ctl("explain", "pod", one.name, "-n", "default")).status, 0);
    assert.deepEqual((await waiting()).filter(isThis), []);
  }

  /** What the doctor of the cluster finds of Pods that wait: their fix is to do what `explain` says. */
  async function waiting(): Promise<readonly DoctorFinding[]> {
    const { out } = await ctl("doctor", "-o", "json");
    // Before it, it says that no agent is installed: the lab's are no Pods.
    const json = out.slice(out.indexOf("{"));
    return (JSON.parse(json).items as readonly DoctorFinding[]).filter(({ id }) => id === "pod-without-network");
  }

  async function cleanUp(one: Case): Promise<void> {
    if (one.hold !== undefined) await hold(one.hold, false);
    for (const name of [one.name, `${one.name}-before`]) {
      await stage.quiet("delete", "pod", name, "--ignore-not-found", "--wait=true", "--timeout=120s");
    }
    if (one.cleanup !== undefined) await onNode(one.cleanup).catch(() => "");
    for (const { kind, name } of one.objects ?? []) {
      await stage.quiet(
        "delete",
        ...[resources[kind]?.split("/").at(-1) ?? kind, name],
        "--ignore-not-found",
        "--wait=false",
        ...(namespaced(kind) ? ["-n", "kube-system"] : []),
      );
    }
  }

  /** Runs the program in this process as a user would, against the lab. */
  async function ctl(...argv: readonly string[]): Promise<{ readonly status: number; readonly out: string }> {
    let out = "";
    const take = (text: string) => {
      out += text;
    };
    const status = await runProgram(["--kubeconfig", lab.kubeconfig, ...argv], {
      name: "spiderpoolctl",
      io: {
        out: take,
        err: take,
        env: {},
        interactive: false,
        signal: AbortSignal.timeout(120_000),
        read: () => Promise.reject(new Error("nothing is read")),
      },
    });
    return { status, out };
  }

  const hold = (program: string, held: boolean) => lab.hold({ ...(program === "agent" && { node }), program, held });
  const onNode = (script: string) => lab.run({ node, argv: ["sh", "-c", script], input: "" });
  /** A printed command in a shell, as it stands. */
  const shell = (command: string) =>
    execute("sh", ["-c", `kubectl() { command "$KUBECTL" "$@"; }\n${command}`], {
      env: { PATH: process.env["PATH"], HOME: lab.directory, KUBECONFIG: lab.kubeconfig, KUBECTL: kubectl },
    });

  async function ready(pod: string): Promise<void> {
    const { ok, stderr } = await stage.quiet("wait", `pod/${pod}`, "--for=condition=Ready", "--timeout=120s");
    if (!ok) assert.fail(`${stderr}${(await ctl("explain", "pod", pod, "-n", "default")).out}`);
  }

  async function make({ kind, name, spec }: NonNullable<Case["objects"]>[number]): Promise<void> {
    const resource = resources[kind] ?? assert.fail(kind);
    const [group = "", version = ""] = resource.split("/");
    const metadata = { name, ...(namespaced(kind) && { namespace: "kube-system" }) };
    await client.create(resource, { apiVersion: `${group}/${version}`, kind, metadata, spec });
  }

  /** The first Event of this Pod that fits. */
  async function eventOn(name: string, uid: string, fits: (event: KubeObject) => boolean): Promise<KubeObject> {
    const found = Promise.withResolvers<KubeObject>();
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(120_000)]);
    signal.addEventListener("abort", () => found.reject(new Error(`no such Event on ${name}`)), { once: true });
    const { done } = client.watch("v1/events", { namespace: "default", signal }, ({ object }) => {
      const isAbout =
        textAt(object, "involvedObject", "uid") === uid || textAt(object, "involvedObject", "name") === name;
      if (isAbout && fits(object)) found.resolve(object);
    });
    try {
      return await found.promise;
    } finally {
      stop.abort();
      await done.catch(() => {});
    }
  }
});

function filled({ name, sentence }: Case, uid: string): string {
  const net = '[default/{pod}/{uid}:kube-system/ovs-conf]: error adding container to network "kube-system/ovs-conf"';
  return sentence.replaceAll("{net}", net).replaceAll("{pod}", name).replaceAll("{uid}", uid);
}

/** What is waited for after the last network is told by that network where the time is over before. */
function inNetwork(one: Case, uid: string): string {
  return filled({ ...one, sentence: `{net}: ${one.sentence}` }, uid);
}

/** Whether this is the first sentence, whole; details may follow it, after a semicolon where a runtime joined them. */
function beginsWith(text: string, sentence: string): boolean {
  return text.startsWith(sentence) && /^([.;] |$)/.test(text.slice(sentence.length));
}

function codeOf(event: KubeObject): string | undefined {
  return event.metadata.annotations?.[annotations.errorCode];
}

/** The first command that is printed, and the node on which it is to run; "" for neither. */
function firstCommand(out: string): readonly [string, string] {
  const line = out.split("\n").find((text) => text.startsWith("      ")) ?? "";
  const [command = "", where = ""] = line.trim().split("   # on node ");
  return [command, where];
}

function namespaced(kind: string): boolean {
  return kind === "NetworkAttachmentDefinition" || kind === "SpiderMultusConfig";
}

function podOf(name: string, { annotations: own = {}, labels = {} }: Case): object {
  const pools = Object.keys(own).some((key) => key.startsWith("ipam.spidernet.io/")) ? {} : draws;
  const containers = [{ name: "app", image: "none", command: ["sleep", "1000"] }];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels, annotations: { ...pools, ...own } },
    spec: { nodeName: node, terminationGracePeriodSeconds: 0, containers },
  };
}
