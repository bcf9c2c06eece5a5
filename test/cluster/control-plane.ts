import { readFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { managementGateway, type NodeProcess, type NodeProgram, spawnProgram } from "../../lab/topology/index.ts";
import type { Binaries } from "./binaries.ts";
import { Authority } from "./certificates.ts";
import { clusterRanges } from "./protocol.ts";

interface ControlPlaneOptions {
  /** The folder for certificates, data and logs. It must be new. */
  readonly directory: string;
  readonly binary: Binaries;
  /** How a program is started. @default once, as child of this process */
  readonly start?: (name: string, program: NodeProgram) => Pick<NodeProcess, "exited">;
  /** Also starts kube-controller-manager and kube-scheduler. @default true */
  readonly controllers?: boolean;
  /** The address ranges of Services, one or two. @default one of IPv4 */
  readonly serviceRanges?: string;
  readonly apiServerFlags?: readonly string[];
  readonly etcdFlags?: readonly string[];
}

/** The programs of Kubernetes that run once in a cluster: etcd, kube-apiserver, and possibly its controllers. */
export interface ControlPlane {
  /** `https://…`, reached from nodes and from here. */
  readonly url: string;
  readonly authority: Authority;
  /** Path of the kubeconfig of a cluster administrator. */
  readonly admin: string;
  /** The kubeconfig of a user of this name, in these groups. Returns its path. */
  user(name: string, groups?: readonly string[]): Promise<string>;
}

const port = 6_443;
const readyMsMax = 180_000;

/**
 * Starts etcd and kube-apiserver, with RBAC, on the management address of the present namespaces, which must be the
 * caller's own: everything ends with this process. Throws Error naming the log when it does not become ready.
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { directory, binary, controllers = true, serviceRanges = clusterRanges({}).services } = options;
  const url = `https://${managementGateway}:${port}`;
  const authority = await Authority.create(join(directory, "pki"));
  const log = (name: string) => join(directory, `${name}.log`);
  const launch = options.start ?? ((_name, program) => spawnProgram(program));
  const start: Start = (name, flags) => launch(name, { argv: [binary(name), ...flags], logFile: log(name) });

  start("etcd", [
    ...["--data-dir", join(directory, "etcd"), "--unsafe-no-fsync", "--log-level", "warn"],
    ...["--listen-client-urls", etcdUrl, "--advertise-client-urls", etcdUrl],
    ...(options.etcdFlags ?? []),
  ]);
  const apiServer = start("kube-apiserver", [
    ...(await apiServerFlags(authority, serviceRanges)),
    ...(options.apiServerFlags ?? []),
  ]);
  const admin = await authority.kubeconfig("admin", "/O=system:masters/CN=admin", url);
  await ready(admin, url, apiServer.exited, log("kube-apiserver"));
  if (controllers) await startControllers(authority, url, start);
  const users = new Map<string, Promise<string>>();
  const user = (name: string, groups: readonly string[] = []) => {
    const subject = `${groups.map((group) => `/O=${group}`).join("")}/CN=${name}`;
    const path = users.get(subject) ?? authority.kubeconfig(name.replaceAll(":", "-"), subject, url);
    users.set(subject, path);
    return path;
  };
  return { url, authority, admin, user };
}

type Start = (name: string, flags: readonly string[]) => Pick<NodeProcess, "exited">;

/** Of the only etcd, in the namespaces of its cluster. */
export const etcdUrl = "http://127.0.0.1:2379";

async function apiServerFlags(authority: Authority, serviceRanges: string): Promise<readonly string[]> {
  const names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
  const ips = [managementGateway, "127.0.0.1", serviceRanges.replace(/0\/.*$/, "1")];
  const serving = await authority.issue("apiserver", "/CN=kube-apiserver", [
    ...names.map((name) => `DNS:${name}`),
    ...ips.map((ip) => `IP:${ip}`),
  ]);
  const kubelets = await authority.issue("kubelets", "/O=system:masters/CN=kube-apiserver-kubelet-client");
  const tokens = await authority.tokenKeys();
  return [
    ...[`--etcd-servers=${etcdUrl}`, `--secure-port=${port}`, `--bind-address=${managementGateway}`],
    ...[`--advertise-address=${managementGateway}`, `--service-cluster-ip-range=${serviceRanges}`],
    ...["--allow-privileged=true", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"],
    ...[`--client-ca-file=${authority.certificate}`, `--tls-cert-file=${serving.cert}`],
    ...[`--tls-private-key-file=${serving.key}`, `--kubelet-certificate-authority=${authority.certificate}`],
    ...[`--kubelet-client-certificate=${kubelets.cert}`, `--kubelet-client-key=${kubelets.key}`],
    "--kubelet-preferred-address-types=InternalIP,Hostname",
    // There is no kube-proxy beside it: it calls webhooks at the addresses of their Pods.
    "--enable-aggregator-routing=true",
    ...["--service-account-issuer=https://kubernetes.default.svc", `--service-account-key-file=${tokens.publicKey}`],
    `--service-account-signing-key-file=${tokens.privateKey}`,
  ];
}

async function startControllers(authority: Authority, url: string, start: Start): Promise<void> {
  const common = async (user: string) => {
    const path = await authority.kubeconfig(user, `/CN=system:${user}`, url);
    const paths = ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"];
    return [...paths.map((flag) => `--${flag}=${path}`), "--bind-address=127.0.0.1", "--leader-elect=false"];
  };
  const { privateKey } = await authority.tokenKeys();
  start("kube-controller-manager", [
    ...(await common("kube-controller-manager")),
    ...["--use-service-account-credentials=true", `--service-account-private-key-file=${privateKey}`],
    ...[`--root-ca-file=${authority.certificate}`, "--kube-api-qps=300", "--kube-api-burst=300"],
    // A dead node is noticed within seconds; kubelets renew their Leases accordingly.
    ...["--node-monitor-grace-period=6s", "--node-monitor-period=1s"],
  ]);
  start("kube-scheduler", [...(await common("kube-scheduler")), "--kube-api-qps=300", "--kube-api-burst=300"]);
}

/** Resolves when the API server's `/readyz` answers 200. */
async function ready(kubeconfig: string, url: string, exited: Promise<unknown>, logFile: string): Promise<void> {
  const config = JSON.parse(readFileSync(kubeconfig, "utf8"));
  const decoded = (text: string) => Buffer.from(text, "base64");
  const tls = {
    ca: decoded(config.clusters[0].cluster["certificate-authority-data"]),
    cert: decoded(config.users[0].user["client-certificate-data"]),
    key: decoded(config.users[0].user["client-key-data"]),
  };
  const isReady = () =>
    new Promise<boolean>((resolve) => {
      const sent = request(`${url}/readyz`, tls, (answer) => {
        answer.resume();
        resolve(answer.statusCode === 200);
      });
      sent.on("error", () => resolve(false));
      sent.end();
    });
  let ended = false;
  void exited.then(() => {
    ended = true;
  });
  const untilMs = performance.now() + readyMsMax;
  while (!(await isReady())) {
    if (ended || performance.now() > untilMs) {
      const tail = readFileSync(logFile, "utf8").split("\n").slice(-6).join("\n");
      throw new Error(
        `kube-apiserver ${ended ? "ended" : `is not ready after ${readyMsMax / 1000} s`}; ${logFile}:\n${tail}`,
      );
    }
    await delay(100);
  }
}
