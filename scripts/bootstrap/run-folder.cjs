// A folder for the temporary files of one command, deleted at its end. The next command deletes folders of killed commands.
// Required by bootstrap.cjs, so it runs on any distribution's Node: plain ES2019, no dependencies.
"use strict";

const fs = require("fs");
const os = require("os");
const path = require("path");

/** The name contains the owner's PID namespace, PID and start time, so that a later process with the same PID does not match. */
const runFolder = /^spiderpool-run-([0-9a-z]+)-([0-9]+)-([0-9a-z]+)$/;
/** Control groups of a real cluster outlive their processes; the PID is of the process that launched it. */
const clusterGroup = /^spiderpool-cluster-([0-9]+)-/;

/**
 * Creates the folder for temporary files of this process's children (`TMPDIR`), and removes leftovers of commands that no longer
 * run: their folders below `base` and the control groups of their clusters. Safe while other commands run.
 *
 * @param {string} base where temporary files go on this system
 * @returns {{ path: string, remove: () => void }}
 */
function makeRunFolder(base = os.tmpdir()) {
  const space = pidNamespace();
  removeLeftFolders(base, space);
  removeLeftGroups();
  const folder = path.join(base, `spiderpool-run-${space}-${process.pid}-${startOf(process.pid)}`);
  fs.mkdirSync(folder, { mode: 0o700, recursive: true });
  return { path: folder, remove: () => removeFolder(folder) };
}

/**
 * {@link makeRunFolder} for a process that outlives the command which started it: beside that command's folder, not in it.
 *
 * @returns {{ path: string, remove: () => void }}
 */
function makeLastingFolder() {
  const base = os.tmpdir();
  return makeRunFolder(runFolder.test(path.basename(base)) ? path.dirname(base) : base);
}

function removeLeftFolders(base, space) {
  for (const name of fs.readdirSync(base)) {
    const [, theirs, pid, start] = runFolder.exec(name) || [];
    // Processes of another PID namespace can't be seen from here.
    if (theirs !== space || startOf(pid) === start) continue;
    const folder = path.join(base, name);
    if (fs.lstatSync(folder).uid === process.getuid()) removeFolder(folder);
  }
}

function removeLeftGroups() {
  const root = "/sys/fs/cgroup";
  if (!fs.existsSync(root) || process.getuid() !== 0) return;
  const below = (folder) => {
    const entries = fs.readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => path.join(folder, name));
  };
  const removeTree = (group) => {
    for (const inner of below(group)) removeTree(inner);
    fs.rmdirSync(group); // The kernel refuses while a process is in it.
  };
  for (const group of [root, ...below(root)].reduce((all, hierarchy) => all.concat(below(hierarchy)), [])) {
    const [, pid] = clusterGroup.exec(path.basename(group)) || [];
    if (pid === undefined || startOf(pid) !== undefined) continue;
    try {
      removeTree(group);
    } catch (error) {
      if (!["EBUSY", "ENOENT"].includes(error.code)) throw error;
    }
  }
}

/** Removes nothing below a mount, which would belong to somebody else. */
function removeFolder(folder) {
  if (fs.readFileSync("/proc/self/mountinfo", "utf8").includes(` ${folder}/`)) return;
  // `rmSync` is not in Node 12. Two commands that start at once remove the same folder, and both find it gone.
  const { spawnSync } = require("child_process");
  spawnSync("rm", ["-rf", "--one-file-system", "--", folder]);
}

/** When the process started, in ticks since the boot; undefined: it does not run. */
function startOf(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, in parentheses, may contain blanks and parentheses; the start time is the 20th field after it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : Number(fields[19]).toString(36);
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "ESRCH") return undefined;
    throw error;
  }
}

function pidNamespace() {
  const [, inode = "0"] = /\[(\d+)\]/.exec(fs.readlinkSync("/proc/self/ns/pid")) || [];
  return Number(inode).toString(36);
}

module.exports = { makeRunFolder, makeLastingFolder };
