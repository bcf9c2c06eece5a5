// The commands of guides, typed on a lab as they stand there: what the pages print is what they print.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import type { LabHandle } from "../../lab/launch.ts";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { buildBundles } from "../../scripts/common/build.ts";
import { launchProductLab } from "../../scripts/common/product-lab.ts";
import { until } from "../../src/base/testing/until.ts";

const execute = promisify(execFile);
const manifests = new URL("../../examples/ovs/", import.meta.url);
const page = (name: string) => readFileSync(new URL(`../../docs/guides/${name}`, import.meta.url), "utf8");
const walkthrough = page("walkthrough.md");
const troubleshooting = page("troubleshooting.md");

/** The text of each fenced block that names no language. */
function consolesOf(text: string): readonly string[] {
  const blocks = Array.from(text.matchAll(/^```(\w*)\n(.*?)^```$/gms));
  return blocks.flatMap(([, language = "", block = ""]) => (language === "" ? [block] : []));
}

/** What is typed after a prompt, with what is printed for it. */
function typedIn(consoles: readonly string[]): readonly { readonly command: string; readonly output: string }[] {
  return consoles
    .filter((text) => text.startsWith("# "))
    .flatMap((text) => text.split(/^# /m).slice(1))
    .map((text) => {
      const [command = "", ...output] = text.split("\n");
      return { command, output: output.join("\n") };
    });
}

/** Whatever is another every time, by a word for it; rows in one order, however columns and names came out. */
function lasting(text: string): readonly string[] {
  const words: readonly (readonly [RegExp, string])[] = [
    [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b/g, "UUID"],
    [/\btest-app-[0-9a-z]+-[0-9a-z]{5}\b/g, "POD"],
    [/\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b/g, "MAC"],
    [/\bveth[0-9a-f]+\b/g, "VETH"],
    [/\bport \d+\b/g, "port N"],
    [/\b172\.18\.30\.13[12]\b/g, "ADDRESS"],
    [/\bnode[12]\b/g, "NODE"],
    [/\b[0-9.]+ ?ms\b/g, "TIME"],
    [/\b\d+s\b/g, "AGE"],
    [/ +/g, " "],
  ];
  const masked = words.reduce((masked, [pattern, word]) => masked.replaceAll(pattern, word), text);
  return masked
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .sort();
}

/** Of these the pages leave lines out that say nothing here. */
const isLongWinded = (command: string) => command.includes("ping ") || command === "ovs-vsctl show";

describe("the commands of the guides, on a lab", () => {
  let lab: LabHandle;
  /** Before a script: the programs of the page, with the lab's files. */
  let programs: string;
  before(async () => {
    const [launched, kubectl, { spiderpoolctl }] = await Promise.all([
      launchProductLab({ nodes: 2, bridges: false }),
      findKubectl("1.35"),
      buildBundles(),
    ]);
    lab = launched;
    // Commands are typed where the manifests are, and some write files there.
    cpSync(manifests, join(lab.directory, "ovs"), { recursive: true });
    programs = [
      `kubectl() { command '${kubectl}' "$@"; }`,
      `spiderpoolctl() { '${process.execPath}' '${spiderpoolctl}' "$@"; }\n`,
    ].join("\n");
  });
  after(() => lab.stop());

  const typed = async (script: string): Promise<string> => {
    const env = { PATH: process.env["PATH"], HOME: lab.directory, KUBECONFIG: lab.kubeconfig };
    return (await execute("sh", ["-c", programs + script], { env, cwd: join(lab.directory, "ovs") })).stdout;
  };
  const onNode = (node: string, script: string) => lab.run({ node, argv: ["sh", "-c", programs + script] });
  const isOfNode = (command: string) => /^(ovs-vsctl|ip|ls) /.test(command);
  const run = (command: string) => (isOfNode(command) ? onNode("node1", command) : typed(command));
  const podAt = (ip: string) =>
    typed(`kubectl get po -l app=test-app -o jsonpath='{.items[?(@.status.podIP=="${ip}")].metadata.name}'`);

  it("make the bridges of the walk-through by its one line", async () => {
    const line = consolesOf(walkthrough).find((text) => text.startsWith("ovs-vsctl add-br br1 && ")) ?? "";
    for (const [node, ip] of [
      ["node1", "172.18.0.11"],
      ["node2", "172.18.0.12"],
    ] as const) {
      // This machine's kernel may have no datapath of Open vSwitch.
      const own = line
        .replace("add-br br1", "add-br br1 -- set bridge br1 datapath_type=netdev")
        .replace("172.18.0.11", ip);
      await onNode(node, own);
    }
  });

  it("print what the walk-through shows, in both languages", async () => {
    const names = new Map<string, string>();
    for (const { command, output } of typedIn(consolesOf(walkthrough))) {
      for (const [, name = "", ip = ""] of output.matchAll(/^(test-app-\S+) .* (172\.18\.30\.\d+) /gm))
        names.set(name, ip);
      let script = command;
      for (const [name, ip] of names) if (script.includes(name)) script = script.replaceAll(name, await podAt(ip));
      // What changes nothing is typed until the system has come so far.
      const isOnce = /^kubectl apply /.test(command);
      const look = async () => lasting(await run(script));
      const wanted = lasting(output);
      const isShown = (found: readonly string[]) =>
        isLongWinded(command) ? wanted.every((one) => found.includes(one)) : found.join("\n") === wanted.join("\n");
      if (isOnce) assert.deepEqual(await look(), wanted, command);
      else await until(`${command}\n${wanted.join("\n")}`, look, isShown, { everyMs: 100 });
    }
    assert.equal(names.size, 2);
  });

  it("draw the way of a packet that ends where troubleshooting says", async () => {
    const drawing = consolesOf(troubleshooting).find((text) => text.startsWith("eth0 (")) ?? "";
    const node = (await typed("kubectl get po -l app=test-app -o jsonpath='{.items[0].spec.nodeName}'")).trim();
    const pod = (await typed("kubectl get po -l app=test-app -o jsonpath='{.items[0].metadata.name}'")).trim();
    await onNode(node, "ip link set eth0 down");
    const draw = () => onNode(node, `spiderpoolctl net show default/${pod} --draw || true`).then(lasting);
    const wanted = lasting(drawing);
    await until(drawing, draw, (found) => found.join("\n") === wanted.join("\n"), { everyMs: 200 });
    await onNode(node, "ip link set eth0 up");
  });

  it("are there for whoever looks for a symptom: each one that troubleshooting names can be typed", async () => {
    const pod = await podAt("172.18.30.131");
    const node = (await typed(`kubectl get po ${pod} -o jsonpath='{.spec.nodeName}'`)).trim();
    const spans = Array.from(
      troubleshooting.matchAll(/`((?:kubectl|spiderpoolctl|ip|ovs-vsctl|ls) [^`]+)`/g),
      ([, text = ""]) => text,
    );
    // Words of a sentence; what changes something and is tried above or below; programs that a lab's Pods would have.
    const passedOver = /…|^kubectl (delete|-n kube-system (logs|get deploy))|add-br$|add-port|FILE/;
    const commands = [...new Set(spans)].filter((text) => !passedOver.test(text));
    assert.ok(commands.length >= 10, commands.join("; "));
    for (const command of commands) {
      const script = command
        .replace(/pool(=| )NAME/, "pool$1ippool-test")
        .replaceAll("NAMESPACE", "default")
        .replaceAll("NAME", pod)
        .replace(/describe pod$/, `describe pod ${pod}`);
      const isLocal = isOfNode(command) || /--local|net show|trace/.test(command);
      // These end with 1 where they find something, which is what they are for.
      const judges = /^spiderpoolctl (doctor|net show|node status)/.test(command) ? " || [ $? = 1 ]" : "";
      const line = `{ ${script}; } 2>&1${judges}`;
      const printed = await (isLocal ? onNode(node, line) : typed(line));
      assert.notEqual(printed.trim(), "", command);
    }
  });

  it("end the walk-through: a pool that is full says so in its words, and nothing is left", async () => {
    const sentence =
      consolesOf(walkthrough)
        .find((text) => text.startsWith("failed to allocate"))
        ?.trim() ?? "";
    await typed("kubectl apply -f more.yaml");
    const told = () =>
      typed(
        "kubectl get events --field-selector reason=IPPoolExhausted,involvedObject.kind=Pod -o jsonpath='{.items[*].message}'",
      );
    await until(sentence, told, (found) => found.includes(sentence), { everyMs: 200 });
    await typed(
      "kubectl scale deployment/test-app --replicas=1 && kubectl rollout status deployment/test-app-more --timeout=120s",
    );
    await typed(
      "kubectl delete -f app.yaml -f more.yaml --wait=true && kubectl wait --for=delete pod --all --timeout=120s",
    );
    for (const { name } of lab.nodes) {
      await until(
        `the ports of ${name}`,
        () => onNode(name, "ovs-vsctl list-ports br1"),
        (ports) => ports.trim() === "eth0",
      );
    }
  });
});
