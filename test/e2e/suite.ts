import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { apiGroup, apiVersion } from "#api";
import type { LabHandle } from "../../lab/launch.ts";
import type { Stage } from "../../lab/scenarios/stage.ts";
import {
  launchForProduct,
  launchProductCluster,
  type ProductCluster,
  type ProductClusterOptions,
} from "../cluster/product.ts";
import { apiOf } from "../conformance/api.ts";
import { nothingLeft } from "./audit.ts";

export const manifests = fileURLToPath(new URL("../../examples/ovs", import.meta.url));

/**
 * A real cluster, as the suites use it; ends with the test file. Its end throws AssertionError where anything is left of what ran
 * there, once that was deleted.
 */
export interface Suite extends AsyncDisposable {
  readonly cluster: LabHandle;
  readonly stage: Stage;
  /** kubectl; its standard output. Throws AssertionError with what it said on stderr. */
  kubectl(...argv: readonly string[]): Promise<string>;
  /** `kubectl apply` of objects. */
  apply(...objects: readonly object[]): Promise<void>;
  /** The objects of a kind; none if it is not served. By HTTP, because tests ask often, and a kubectl costs 0.1 s of CPU time. */
  list<T = KubeObject>(kind: keyof typeof listed, options?: ListOptions): Promise<readonly T[]>;
  /** The Pods with the label `app` of this value, in namespace default. */
  podsOf(app: string): Promise<readonly StoredPod[]>;
  /** A shell script on a node. */
  onNode(node: string, script: string): Promise<string>;
  /** What a web server answers a Pod, a node, or a host outside. Throws where it does not within 20 s. */
  fetch(from: { readonly pod: string } | { readonly node: string } | "outside", url: string): Promise<string>;
}

/** Kinds that tests list, with their group. */
const listed = {
  pods: "/api/v1",
  events: "/api/v1",
  deployments: "/apis/apps/v1",
  spiderippools: `/apis/${apiGroup}/${apiVersion}`,
  spideripaddresses: `/apis/${apiGroup}/${apiVersion}`,
  spiderendpoints: `/apis/${apiGroup}/${apiVersion}`,
} as const;
const ofNoNamespace = ["spiderippools", "spideripaddresses"];

interface ListOptions {
  /** "": all. @default default */
  readonly namespace?: string;
  /** A selector. */
  readonly labels?: string;
  /** A selector. */
  readonly fields?: string;
}

/** As much of an object as tests look at. */
export interface KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}

/** A Pod that is bound to a node, as much of it as tests look at. */
export interface StoredPod extends KubeObject {
  readonly spec: { readonly nodeName: string };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

/** Starts a cluster with the product for the suite of this name; its logs are kept under `$E2E_LOGS` where that is set. */
export async function startSuite(
  name: string,
  options: ProductClusterOptions & { readonly flags?: readonly string[] } = {},
): Promise<Suite> {
  return suiteOn(await launchProductCluster({ ...options, ...logsOf(name) }));
}

/** The same for a suite that installs the product itself. */
export async function startBareSuite(name: string, options: ProductClusterOptions = {}): Promise<Suite> {
  return suiteOn(await launchForProduct({ ...options, ...logsOf(name) }));
}

function logsOf(name: string): { readonly logDirectory?: string } {
  const logs = process.env["E2E_LOGS"];
  if (logs === undefined) return {};
  const logDirectory = join(logs, name);
  mkdirSync(logDirectory, { recursive: true });
  return { logDirectory };
}

function suiteOn({ cluster, stage }: ProductCluster): Suite {
  const api = apiOf(cluster.kubeconfig);
  const kubectl = async (...argv: readonly string[]) => {
    const { ok, stdout, stderr } = await stage.quiet(...argv);
    assert.ok(ok, `kubectl ${argv.join(" ")}: ${stderr}`);
    return stdout;
  };
  const onNode = (node: string, script: string) => cluster.run({ node, argv: ["sh", "-c", script] });
  const fetch: Suite["fetch"] = async (from, url) => {
    const argv = ["timeout", "20", "busybox", "wget", "-qO-", url];
    if (from !== "outside" && "pod" in from) return (await kubectl("exec", from.pod, "--", ...argv)).trim();
    return (await cluster.run({ ...(from !== "outside" && from), argv })).trim();
  };
  const suite: Suite = {
    cluster,
    stage,
    kubectl,
    onNode,
    fetch,
    apply: async (...items) => {
      const input = JSON.stringify({ apiVersion: "v1", kind: "List", items });
      const { ok, stderr } = await stage.input(input, "apply", "-f", "-");
      assert.ok(ok, `kubectl apply: ${stderr}`);
    },
    list: async (kind, { namespace = "default", labels = "", fields = "" } = {}) => {
      const scope = namespace === "" || ofNoNamespace.includes(kind) ? "" : `/namespaces/${namespace}`;
      const query = new URLSearchParams({ labelSelector: labels, fieldSelector: fields });
      const get = () => api.call("GET", `${listed[kind]}${scope}/${kind}?${query}`);
      for (;;) {
        // A connection that was kept may be one of a server that was restarted.
        const { status, body } = await get().catch(get);
        if (status === 404) return [];
        if (status === 200) return body.items;
        // As kubectl does while a server has just begun to watch its storage.
        assert.equal(status, 429, JSON.stringify(body));
        await delay((body.details?.retryAfterSeconds ?? 1) * 1_000);
      }
    },
    podsOf: (app) => suite.list<StoredPod>("pods", { labels: `app=${app}` }),
    [Symbol.asyncDispose]: async () => {
      try {
        await nothingLeft(suite);
      } finally {
        await cluster.stop();
      }
    },
  };
  return suite;
}
