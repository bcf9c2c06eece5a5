import { setTimeout as delay } from "node:timers/promises";
import type { Stage } from "./stage.ts";
import { formatWaterfall, readFlights } from "./waterfall.ts";

/** The walk-through: a Deployment gets fixed underlay addresses over Open vSwitch (manifests in examples/ovs). */
interface WalkthroughOptions {
  /** The folder with pool.yaml, network.yaml, app.yaml and more.yaml. */
  readonly manifests: string;
  /** Called at the first answered ping. */
  readonly onFirstPing?: () => void;
}

interface PodRow {
  readonly name: string;
  readonly node: string;
  readonly ip: string;
}

const pool = /^172\.18\.30\.(13[1-9]|140)$/;
const eventMsMax = 120_000;
const bridgeResource = "ovs-cni.network.kubevirt.io/br1";

/** Plays the walk-through on a lab without bridges. Deletes its objects at the end. */
export async function playWalkthrough(stage: Stage, options: WalkthroughOptions): Promise<void> {
  const acts: readonly ((stage: Stage, options: WalkthroughOptions) => Promise<void>)[] = [
    makeBridges,
    makePool,
    makeNetwork,
    makeApplication,
    look,
    talk,
    roll,
    fill,
    clean,
    showWaterfall,
  ];
  for (const act of acts) {
    await act(stage, options);
    if (stage.failures.length === 0) continue;
    stage.say("Stopped here: what follows builds on it.");
    return;
  }
}

async function makeBridges(stage: Stage): Promise<void> {
  stage.title("Bridges, on each node");
  for (const { name } of stage.lab.nodes) {
    for (const command of await stage.lab.createBridges({ node: name })) stage.say(`${name} # ${command}`);
  }
  const [first] = stage.lab.nodes;
  if (first !== undefined) await stage.onNode(first.name, "ovs-vsctl", "show");
  for (const { name } of stage.lab.nodes) {
    const path = `{.status.allocatable.${bridgeResource.replaceAll(".", "\\.")}}`;
    // The API server's spelling of 1000.
    const { ok } = await stage.quiet("wait", `node/${name}`, `--for=jsonpath=${path}=1k`, "--timeout=120s");
    const { stdout } = await stage.quiet("get", "node", name, "-o", `jsonpath=${path}`);
    stage.check(`${name} offers ${bridgeResource}`, ok, stdout || "nothing");
  }
}

async function makePool(stage: Stage, { manifests }: WalkthroughOptions): Promise<void> {
  stage.title("Pool");
  await stage.kubectl("apply", "-f", `${manifests}/pool.yaml`);
  await stage.quiet("wait", "spiderippool/ippool-test", "--for=jsonpath={.status.totalIPCount}=10", "--timeout=120s");
  const { stdout } = await stage.kubectl("get", "sp", "ippool-test");
  const [header = [], row = []] = table(stdout);
  stage.check(
    "columns are NAME VERSION SUBNET ALLOCATED-IP-COUNT TOTAL-IP-COUNT DEFAULT",
    header.join(" ") === "NAME VERSION SUBNET ALLOCATED-IP-COUNT TOTAL-IP-COUNT DEFAULT",
    header.join(" "),
  );
  stage.check("the pool is empty: 0 of 10", row.join(" ") === "ippool-test 4 172.18.0.0/16 0 10 false", row.join(" "));
}

async function makeNetwork(stage: Stage, { manifests }: WalkthroughOptions): Promise<void> {
  stage.title("Network");
  await stage.kubectl("apply", "-f", `${manifests}/network.yaml`);
  const nad = ["network-attachment-definition", "ovs-conf", "-n", "kube-system"] as const;
  await stage.quiet("wait", nad[0], nad[1], nad[2], nad[3], "--for=jsonpath={.spec.config}", "--timeout=120s");
  const { stdout } = await stage.kubectl("get", ...nad, "-o", "jsonpath={.spec.config}");
  const types = [...stdout.matchAll(/"type":"([^"]+)"/g)].map(([, type]) => type);
  stage.check(
    "its NetworkAttachmentDefinition chains ovs, our IPAM and the coordinator",
    ["ovs", "spiderpool", "coordinator"].every((type) => types.includes(type)),
    stdout,
  );
}

async function makeApplication(stage: Stage, { manifests }: WalkthroughOptions): Promise<void> {
  stage.title("Application");
  await stage.kubectl("apply", "-f", `${manifests}/app.yaml`);
  await stage.kubectl("rollout", "status", "deployment/test-app", "--timeout=120s");
  const { stdout } = await stage.kubectl("get", "po", "-l", "app=test-app", "-o", "wide");
  const pods = podRows(stdout);
  stage.check("two Pods run", pods.length === 2 && (stdout.match(/1\/1\s+Running/g) ?? []).length === 2);
  stage.check("on different nodes", new Set(pods.map(({ node }) => node)).size === 2);
  const ips = pods
    .map(({ ip }) => ip)
    .sort()
    .join(" ");
  stage.check("with the pool's first two addresses", ips === "172.18.30.131 172.18.30.132", ips);
}

async function podsOf(stage: Stage, app: string): Promise<readonly PodRow[]> {
  return podRows((await stage.quiet("get", "po", "-l", `app=${app}`, "-o", "wide")).stdout);
}

async function look(stage: Stage): Promise<void> {
  stage.title("What the user sees");
  const pods = await podsOf(stage, "test-app");
  await stage.quiet(
    "wait",
    "spiderippool/ippool-test",
    "--for=jsonpath={.status.allocatedIPCount}=2",
    "--timeout=120s",
  );
  const [, pool = []] = table((await stage.kubectl("get", "spiderippool")).stdout);
  stage.check(
    "2 of the pool's 10 addresses are allocated",
    pool.join(" ") === "ippool-test 4 172.18.0.0/16 2 10 false",
    pool.join(" "),
  );
  for (const { name } of pods)
    await stage.quiet("wait", `spiderendpoint/${name}`, "--for=jsonpath={.status.current.node}", "--timeout=120s");
  const endpoints = (await stage.kubectl("get", "spiderendpoints")).stdout;
  stage.check(
    "the endpoints' columns are INTERFACE IPV4POOL IPV4 IPV6POOL IPV6 NODE",
    /NAME +INTERFACE +IPV4POOL +IPV4 +IPV6POOL +IPV6 +NODE/.test(endpoints),
  );
  for (const { name, ip, node } of pods) {
    const row = new RegExp(`^${name} +eth0 +ippool-test +${ip}/16 .*${node}`, "m");
    stage.check(`${name} has eth0, ippool-test, ${ip}/16 on ${node}`, row.test(endpoints));
  }
  const claims = table((await stage.kubectl("get", "sia")).stdout)
    .slice(1)
    .map(([name]) => name);
  stage.check(
    "the ledger has one object for each address",
    claims.join(" ") ===
      pods
        .map(({ ip }) => ip)
        .sort()
        .join(" "),
    claims.join(" "),
  );
}

async function talk(stage: Stage, { onFirstPing }: WalkthroughOptions): Promise<void> {
  stage.title("They talk to each other");
  const pods = await podsOf(stage, "test-app");
  const [one, two] = pods;
  if (one === undefined || two === undefined) return;
  const ping = await stage.kubectl("exec", "-i", one.name, "--", "ping", two.ip, "-c", "2", "-i", "0.2");
  onFirstPing?.();
  stage.check("two answers, no loss", /2 packets transmitted, 2 (packets )?received, 0% packet loss/.test(ping.stdout));
  const http = await stage.kubectl("exec", "-i", one.name, "--", "timeout", "60", "wget", "-qO-", `http://${two.ip}/`);
  stage.check("HTTP from Pod to Pod across the nodes", http.stdout.trim() === two.name, http.stdout.trim());
  const near = await stage.onNode(one.node, "timeout", "60", "busybox", "wget", "-qO-", `http://${one.ip}/`);
  stage.check("a node reaches its own Pod, as probes do", near.stdout.trim() === one.name, near.stderr);
  const untilAnswered = ["ping", "-c", "1", "-i", "0.2", "-w", "60"];
  const reaches = (ip: string) => stage.kubectl("exec", "-i", one.name, "--", ...untilAnswered, ip);
  stage.check("the network's gateway answers", (await reaches("172.18.0.1")).ok);
  const node = stage.lab.nodes.find(({ name }) => name === one.node);
  stage.check("a Pod reaches its own node", (await reaches(node?.ip ?? "")).ok);
}

async function roll(stage: Stage): Promise<void> {
  stage.title("Delete, re-create, roll: the addresses stay inside the pool");
  await stage.kubectl("delete", "pod", "-l", "app=test-app", "--wait=true");
  await stage.kubectl("rollout", "status", "deployment/test-app", "--timeout=120s");
  await stage.kubectl("rollout", "restart", "deployment/test-app");
  await stage.kubectl("rollout", "status", "deployment/test-app", "--timeout=120s");
  const pods = podRows((await stage.kubectl("get", "po", "-l", "app=test-app", "-o", "wide")).stdout).filter(
    ({ ip }) => ip !== "<none>",
  );
  const outside = pods.filter(({ ip }) => !pool.test(ip)).map(({ ip }) => ip);
  stage.check("every address is of the pool", pods.length >= 2 && outside.length === 0, outside.join(" "));
}

async function fill(stage: Stage, { manifests }: WalkthroughOptions): Promise<void> {
  stage.title("A full pool explains itself");
  await stage.kubectl("apply", "-f", `${manifests}/more.yaml`);
  const started8 = "--for=jsonpath={.status.readyReplicas}=8";
  await stage.quiet("wait", "deployment/test-app-more", started8, "--timeout=120s");
  await stage.quiet(
    "wait",
    "spiderippool/ippool-test",
    "--for=jsonpath={.status.allocatedIPCount}=10",
    "--timeout=120s",
  );
  await stage.kubectl("get", "spiderippool", "ippool-test");
  const waiting = await waitingPod(stage);
  stage.check("ten Pods have addresses, the eleventh waits", waiting !== undefined);
  if (waiting === undefined) return;
  const exhausted = `--field-selector=involvedObject.name=${waiting},reason=IPPoolExhausted`;
  // A `wait` for a set of objects ends at once where there is none yet.
  for (const untilMs = performance.now() + eventMsMax; performance.now() < untilMs; await delay(250)) {
    if ((await stage.quiet("get", "events", exhausted, "-o", "name")).stdout !== "") break;
  }
  const { stdout } = await stage.kubectl("get", "events", exhausted, "-o", "custom-columns=MESSAGE:.message");
  stage.check(
    "its Event says that the pool is full, which pool, and what to do",
    /all IP addresses used out.*ippool-test.*What to do/s.test(stdout),
    stdout,
  );
  stage.say("One Pod less is wanted: its address is released.");
  await stage.kubectl("scale", "deployment/test-app", "--replicas=1");
  const started = await stage.kubectl("wait", `pod/${waiting}`, "--for=condition=Ready", "--timeout=120s");
  stage.check("the eleventh Pod starts by itself", started.ok);
}

/** The Pod that is not ready when the ten others are. */
async function waitingPod(stage: Stage): Promise<string | undefined> {
  const path = 'jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{"\\n"}{end}';
  const { stdout } = await stage.quiet("get", "po", "-o", path);
  const without = stdout
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([name, ip]) => name !== "" && ip === "");
  return without.length === 1 ? without[0]?.[0] : undefined;
}

async function clean(stage: Stage, { manifests }: WalkthroughOptions): Promise<void> {
  stage.title("Afterwards nothing is left");
  await stage.kubectl("delete", "-f", `${manifests}/more.yaml`, "-f", `${manifests}/app.yaml`);
  await stage.quiet("wait", "pod", "--all", "--for=delete", "--timeout=120s");
  await stage.quiet(
    "wait",
    "spiderippool/ippool-test",
    "--for=jsonpath={.status.allocatedIPCount}=0",
    "--timeout=120s",
  );
  await stage.kubectl("get", "spiderippool");
  const claims = (await stage.quiet("get", "sia", "-o", "name")).stdout.trim();
  stage.check("the ledger is empty", claims === "", claims);
  for (const { name } of stage.lab.nodes) {
    const { stdout } = await stage.onNode(name, "ovs-vsctl", "list-ports", "br1");
    stage.check(`no port of ours is left on ${name}`, stdout.trim() === "eth0", stdout.trim());
  }
}

async function showWaterfall(stage: Stage): Promise<void> {
  stage.title("Where the time of an ADD went");
  const flights = await Promise.all(stage.lab.nodes.map(({ name }) => readFlights(stage.lab, name)));
  const adds = flights.flat().filter(({ verb, error }) => verb === "ADD" && error === undefined);
  for (const line of formatWaterfall(adds)) stage.say(line);
}

/** A printed table as rows of words. */
function table(text: string): readonly (readonly string[])[] {
  return text
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
}

/** Rows of `kubectl get po -o wide`; the columns after STATUS move when a Pod was restarted, so they are counted from the end. */
function podRows(text: string): readonly PodRow[] {
  return table(text)
    .slice(1)
    .map((words) => ({ name: words[0] ?? "", ip: words.at(-4) ?? "", node: words.at(-3) ?? "" }));
}
