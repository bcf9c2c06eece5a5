import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { type ApiFaults, faultFlags, type MadeFault, madeFaults, makeFaults } from "../cluster/faults.ts";
import { complaints, ledgerIsEmpty, settled } from "./audit.ts";
import { figure } from "./figures.ts";
import { manifests, type Suite, startSuite } from "./suite.ts";
import { until } from "./until.ts";
import { deployment, pod, pool } from "./workloads.ts";

const pods = 8;
/** A watch that says nothing is given up by the client after 150 s. */
const silenceSeconds = 220;
const options = { pools: { ipv4: ["large"] } };

describe("when the API server, or the way to it, is bad", () => {
  let suite: Suite;
  before(async () => {
    suite = await startSuite("faults", { bridges: true, apiProxy: true, flags: faultFlags });
    await suite.kubectl("apply", "-f", `${manifests}/network.yaml`);
    await suite.apply(pool("large", "172.18.50.1-172.18.50.100"));
    await suite.kubectl("wait", "sp/large", "--for=jsonpath={.status.totalIPCount}=100", "--timeout=300s");
  });
  afterEach(async () => {
    await makeFaults(suite.cluster, {});
    await suite.stage.quiet("delete", "deploy,pods", "--all", "--wait=true");
  });
  after(() => suite?.[Symbol.asyncDispose]());

  const rolledOut = (app: string) => suite.kubectl("rollout", "status", `deployment/${app}`, "--timeout=300s");

  /** Pods come, are replaced and go; each has an address, none is double, and nothing is left. Returns the faults made. */
  async function comeAndGo(app: string, faults: ApiFaults): Promise<readonly MadeFault[]> {
    const earlier = (await madeFaults(suite.cluster)).length;
    await makeFaults(suite.cluster, faults);
    const startedMs = performance.now();
    await suite.apply(deployment(app, pods, options));
    await rolledOut(app);
    figure(`${pods} Pods Ready, ${JSON.stringify(faults)}, s`, (performance.now() - startedMs) / 1000);
    await suite.kubectl("rollout", "restart", `deployment/${app}`);
    await rolledOut(app);
    await until("the old Pods are gone", async () => ((await suite.podsOf(app)).length === pods ? true : undefined));
    const addresses = (await suite.podsOf(app)).map(({ status }) => status.podIP);
    assert.equal(new Set(addresses).size, pods, addresses.join(" "));
    await settled(suite);
    await suite.kubectl("delete", "deployment", app, "--wait=true", "--timeout=300s");
    await ledgerIsEmpty(suite);
    await settled(suite);
    return (await madeFaults(suite.cluster)).slice(earlier);
  }

  it("each answer takes 200 ms longer", async () => {
    assert.deepEqual(await comeAndGo("slow", { latencyMs: 200 }), []);
  });

  it("each tenth request fails with 500", async () => {
    const made = await comeAndGo("failing", { failEvery: 10 });
    assert.ok(made.length > 0);
  });

  it("the answer to each second create is lost: what was created is recognised", async () => {
    const made = await comeAndGo("lost", { loseEvery: 2 });
    const claims = made.filter(({ kind, url }) => kind === "lost" && url.includes("/spideripaddresses"));
    assert.ok(claims.length >= 4, `${claims.length} answers to claims were lost`);
  });

  it("watches are cut when they are 2 s old", async () => {
    const made = await comeAndGo("cut", { cutWatchesAfterMs: 2_000 });
    assert.ok(made.filter(({ kind }) => kind === "cut").length > 20, `${made.length} watches were cut`);
  });

  it("all of that at once", async () => {
    const faults = { latencyMs: 100, failEvery: 20, loseEvery: 5, cutWatchesAfterMs: 3_000 };
    const kinds = new Set((await comeAndGo("all", faults)).map(({ kind }) => kind));
    assert.deepEqual([...kinds].sort(), ["cut", "failed", "lost"]);
  });

  it("it accepts connections and answers nothing: the Pod is told so, and starts by itself when it answers again", async () => {
    await suite.cluster.kill({ program: "api-proxy", signal: "SIGSTOP" });
    await suite.apply(pod("mute", options));
    const fields = "involvedObject.name=mute,reason=FailedCreatePodSandBox";
    const [event] = await until("an Event on the Pod", async () => {
      const events = await suite.list<{ readonly message: string }>("events", { fields });
      return events.length === 0 ? undefined : events;
    });
    assert.match(event?.message ?? "", /API server/);
    await suite.cluster.kill({ program: "api-proxy", signal: "SIGCONT" });
    await suite.kubectl("wait", "pod/mute", "--for=condition=Ready", "--timeout=300s");
    await settled(suite);
    await suite.kubectl("delete", "pod", "mute", "--wait=true", "--timeout=300s");
    await ledgerIsEmpty(suite);
    await settled(suite);
  });

  it("watches fall silent and stay open: Pods start all the same, and the silence ends by itself", async () => {
    await suite.apply(deployment("before", 4, options));
    await rolledOut("before");
    await makeFaults(suite.cluster, { silenceWatches: true });
    await suite.kubectl("scale", "deployment/before", "--replicas=2");
    await suite.apply(deployment("during", 4, options));
    await rolledOut("during");
    const running = [...(await suite.podsOf("during")), ...(await suite.podsOf("before"))].map(
      ({ status }) => status.podIP,
    );
    assert.equal(new Set(running).size, running.length, running.join(" "));
    await makeFaults(suite.cluster, {}); // what is silent stays so
    const startedMs = performance.now();
    await until(
      "nothing to complain about",
      async () => ((await complaints(suite)).length === 0 ? true : undefined),
      silenceSeconds,
    );
    figure("views right again after all watches fell silent, s", (performance.now() - startedMs) / 1000);
    const silenced = (await madeFaults(suite.cluster)).filter(({ kind }) => kind === "silenced");
    assert.ok(silenced.length > 0);
    await suite.kubectl("delete", "deployment", "--all", "--wait=true", "--timeout=300s");
    await ledgerIsEmpty(suite);
    await settled(suite);
  });
});
