// Prepares the machine, then hands over to scripts/<command>.ts on the pinned Node. Runs on any distribution's Node
// (12 and up): plain ES2019, no dependencies. Tries what the machine can do rather than guessing, and reports all problems at once.
"use strict";

const { spawn, spawnSync } = require("child_process");
const crypto = require("crypto");
const fs = require("fs");
const os = require("os");
const path = require("path");
const { makeRunFolder } = require("./run-folder.cjs");

const root = path.join(__dirname, "../..");
const args = process.argv.slice(2);
const command = args.shift();

/** What each command needs from the machine beyond the npm packages. */
const needs = {
  start: { kernel: true, tools: true },
  lab: { kernel: true, tools: true },
  bench: { kernel: true, tools: true },
  soak: { kernel: true, tools: true },
  test: { kernel: true, tools: true, userModeLinux: true },
  cluster: { kernel: true, tools: true, runtime: true },
  e2e: { kernel: true, tools: true, runtime: true },
  fuzz: { kernel: false, tools: true },
  simulate: { kernel: false, tools: false },
  shell: { kernel: false, tools: false },
  check: { kernel: false, tools: false },
  generate: { kernel: false, tools: false },
  image: { kernel: false, tools: false },
  airgap: { kernel: false, tools: false },
};

/** Program, or a file by its path → Debian or Ubuntu package. */
const packageOf = {
  "ovs-vswitchd": "openvswitch-switch",
  "ovsdb-server": "openvswitch-switch",
  ip: "iproute2",
  ping: "iputils-ping",
  busybox: "busybox-static",
  unshare: "util-linux",
  nsenter: "util-linux",
  setpriv: "util-linux",
  script: "bsdutils",
  gcc: "gcc",
  valgrind: "valgrind",
  iptables: "iptables",
  nft: "nftables",
  curl: "curl",
  tc: "iproute2",
  "/usr/lib/cni/bridge": "containernetworking-plugins",
};
/** What a real Kubernetes needs beyond that. */
const runtimePackageOf = {
  containerd: "containerd",
  runc: "runc",
  conntrack: "conntrack",
  openssl: "openssl",
};
const pluginDirectory = "/usr/lib/cni";
const minMemoryMiB = 1200;

main().catch((error) => {
  console.error(`bootstrap: ${error.message}`);
  process.exit(1);
});

async function main() {
  const need = needs[command];
  if (need === undefined) {
    console.error(`usage: npm run ${Object.keys(needs).join(" | ")}`);
    process.exit(2);
  }
  const findings = [];
  if (need.kernel) tryKernel(findings);
  const missing = need.tools ? missingPackages(need.runtime === true || args.includes("--kubernetes")) : [];
  if (need.userModeLinux && isUserModeLinuxWanting()) missing.push("user-mode-linux");
  if (missing.length > 0 && !have("apt-get")) {
    findings.push({
      found: `missing programs of the packages ${missing.join(", ")}, and no apt-get to install them`,
      mend: "install them with this system's package manager (Debian 12/13 and Ubuntu 22.04/24.04 are supported)",
    });
  }
  if (findings.length > 0) return refuse(findings);
  if (missing.length > 0) await installPackages(missing);
  installNodeModules();
  linkNode();
  handOver();
}

function tryKernel(findings) {
  if (process.platform !== "linux" || !["x64", "arm64"].includes(process.arch)) {
    findings.push({ found: `${process.platform} on ${process.arch}`, mend: "use Linux on x86-64 or arm64" });
    return;
  }
  if (process.getuid() !== 0) {
    findings.push({
      found: "not root",
      mend: `run it as root: sudo npm ${command === "start" ? "start" : `run ${command}`}`,
    });
  } else {
    const tried = run("unshare", ["--mount", "--net", "--pid", "--fork", "ip", "link", "set", "lo", "up"]);
    const bare = tried.status === 0 ? tried : run("unshare", ["--mount", "--net", "--pid", "--fork", "true"]);
    if (bare.status !== 0) {
      findings.push({
        found: `cannot make namespaces: ${bare.stderr.trim() || bare.error}`,
        mend: "give the container CAP_SYS_ADMIN and CAP_NET_ADMIN (docker run --privileged), or use a virtual machine",
      });
    } else if (tried.status !== 0 && have("ip")) {
      findings.push({
        found: `cannot configure a network namespace: ${tried.stderr.trim()}`,
        mend: "give the container CAP_NET_ADMIN (docker run --privileged)",
      });
    }
  }
  try {
    fs.closeSync(fs.openSync("/dev/net/tun", "r+"));
  } catch (error) {
    findings.push({
      found: `cannot open /dev/net/tun (${error.code}), which Open vSwitch's userspace datapath needs`,
      mend:
        error.code === "ENOENT"
          ? "mkdir -p /dev/net && mknod /dev/net/tun c 10 200 && modprobe tun"
          : "run as root on a kernel with the tun driver (docker run --device /dev/net/tun)",
    });
  }
  const memory = /MemAvailable:\s+(\d+)/.exec(fs.readFileSync("/proc/meminfo", "utf8"));
  const freeMiB = memory === null ? os.freemem() / 2 ** 20 : Number(memory[1]) / 1024;
  if (freeMiB < minMemoryMiB) {
    findings.push({
      found: `${Math.floor(freeMiB)} MiB of memory available`,
      mend: `free some: ${minMemoryMiB} MiB are needed`,
    });
  }
}

function refuse(findings) {
  console.error(`This machine can't run "${command}" yet:`);
  for (const { found, mend } of findings) console.error(`  ✗ ${found}\n    → ${mend}`);
  process.exit(1);
}

function missingPackages(withRuntime) {
  const wanted = withRuntime ? Object.assign({}, packageOf, runtimePackageOf) : packageOf;
  const missing = Object.keys(wanted).filter((program) => !have(program));
  const packages = new Set(missing.map((program) => wanted[program]));
  if (withRuntime && !fs.existsSync(path.join(pluginDirectory, "bridge"))) packages.add("containernetworking-plugins");
  if (packages.has("gcc") || !fs.existsSync("/usr/include/stdlib.h")) packages.add("gcc").add("libc6-dev");
  return [...packages].sort();
}

/** User-mode Linux has link types that this machine's kernel may lack. If a distribution lacks it, its tests report a skip. */
function isUserModeLinuxWanting() {
  if (process.arch !== "x64" || have("linux.uml") || !have("apt-cache")) return false;
  return run("apt-cache", ["show", "user-mode-linux"]).status === 0;
}

async function installPackages(packages) {
  const line = `apt-get install ${packages.join(" ")}`;
  if (process.stdin.isTTY && process.stdout.isTTY && !args.includes("--yes") && process.env.CI === undefined) {
    const answer = await ask(`Needed and not installed: ${packages.join(", ")}.\nRun "${line}" now? [Y/n] `);
    if (!/^(y|yes|)$/i.test(answer.trim())) {
      console.error(`Nothing was installed. Run "${line}" yourself, then start again.`);
      process.exit(1);
    }
  }
  console.error(`• ${line}`);
  const quiet = keepServicesOff(packages);
  try {
    const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    const apt = (...more) => run("apt-get", ["-qq", "-o", "Dpkg::Use-Pty=0", ...more], environment);
    const install = ["install", "-y", "--no-install-recommends", ...packages];
    let done = apt(...install);
    if (done.status !== 0) {
      const updated = apt("update");
      if (updated.status !== 0) throw new Error(`apt-get update failed: ${updated.stderr.trim()}`);
      done = apt(...install);
    }
    if (done.status !== 0) throw new Error(`${line} failed: ${done.stderr.trim()}`);
  } finally {
    quiet();
  }
}

/** Installing a service would start it on the host, so its units are masked meanwhile, unless they exist already. */
function keepServicesOff(packages) {
  const unitsOf = {
    "openvswitch-switch": ["openvswitch-switch", "ovsdb-server", "ovs-vswitchd"],
    containerd: ["containerd"],
  };
  const services = Object.keys(unitsOf).filter((name) => packages.includes(name));
  const units = [].concat(...services.map((name) => unitsOf[name])).map((u) => `/etc/systemd/system/${u}.service`);
  const masked = fs.existsSync("/etc/systemd/system") ? units.filter((unit) => !fs.existsSync(unit)) : [];
  for (const unit of masked) fs.symlinkSync("/dev/null", unit);
  return () => {
    for (const unit of masked) fs.unlinkSync(unit);
    if (have("systemctl")) for (const name of services) run("systemctl", ["disable", name]);
  };
}

function installNodeModules() {
  const lock = fs.readFileSync(path.join(root, "package-lock.json"));
  const wanted = crypto.createHash("sha256").update(lock).digest("hex");
  const stamp = path.join(root, "node_modules", ".installed");
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === wanted) return;
  console.error("• npm ci");
  const done = run("npm", ["ci", "--ignore-scripts", "--include=dev", "--include=optional", "--no-audit", "--no-fund"]);
  const cause = done.error || (done.signal ? `it was ended by ${done.signal}` : `status ${done.status}`);
  if (done.status !== 0) throw new Error(`npm ci failed: ${(done.stderr || String(cause)).trim()}`);
  fs.writeFileSync(stamp, wanted);
}

/** Debian 13's npm (9.2) installs the package of the pinned Node, and makes no link to its program. */
function linkNode() {
  const link = path.join(root, "node_modules", ".bin", "node");
  if (fs.existsSync(link)) return;
  const target = path.join("..", `node-linux-${process.arch}`, "bin", "node");
  fs.mkdirSync(path.dirname(link), { recursive: true });
  if (!fs.existsSync(path.join(path.dirname(link), target)))
    throw new Error(`npm ci installed no Node for ${process.arch}: delete node_modules, then start again`);
  fs.rmSync(link, { force: true });
  fs.symlinkSync(target, link);
}

function handOver() {
  const node = path.join(root, "node_modules", ".bin", "node");
  const script = path.join(root, "scripts", `${command}.ts`);
  const temporary = process.platform === "linux" ? makeRunFolder() : { path: os.tmpdir(), remove: () => {} };
  const environment = { ...process.env, PATH: `${path.dirname(node)}:${process.env.PATH}`, TMPDIR: temporary.path };
  // Hundreds of processes load the same modules: a shared cache lets only the first one compile each.
  if (["test", "e2e"].includes(command)) environment.NODE_COMPILE_CACHE = path.join(temporary.path, "compiled");
  // The child dies with us, whatever ends us: pdeathsig is the only thing that survives a SIGKILL.
  const child = spawn("setpriv", ["--pdeathsig", "TERM", node, script, ...args], {
    stdio: "inherit",
    env: environment,
  });
  // A terminal's Ctrl-C reaches the child by itself; a signal sent to us alone does not.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`bootstrap: cannot run ${node}: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => {
    temporary.remove();
    process.exit(code === null ? 128 + (os.constants.signals[signal] || 1) : code);
  });
}

function have(program) {
  if (path.isAbsolute(program)) return fs.existsSync(program);
  const folders = `${process.env.PATH || ""}:/usr/sbin:/sbin`.split(":").filter(Boolean);
  return folders.some((folder) => fs.existsSync(path.join(folder, program)));
}

function run(program, argv, env) {
  return spawnSync(program, argv, { cwd: root, encoding: "utf8", env: env || process.env, maxBuffer: 2 ** 26 });
}

function ask(question) {
  const reader = require("readline").createInterface({ input: process.stdin, output: process.stderr });
  return new Promise((resolve) =>
    reader.question(question, (answer) => {
      reader.close();
      resolve(answer);
    }),
  );
}
