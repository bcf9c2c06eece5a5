import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const root = "/sys/fs/cgroup";

/** Makes a control group in every hierarchy, in either version of the interface, ready for a kubelet to work below it. */
export function makeCgroup(path: string): void {
  for (const hierarchy of hierarchies()) {
    let directory = hierarchy;
    for (const name of path.split("/")) {
      const parent = directory;
      directory = join(directory, name);
      // Version 2: a group has the controllers that its parent delegates.
      const controllers = join(parent, "cgroup.controllers");
      if (hierarchy === root && existsSync(controllers)) {
        const each = readFileSync(controllers, "utf8").trim().split(" ");
        writeFileSync(join(parent, "cgroup.subtree_control"), each.map((one) => `+${one}`).join(" "));
      }
      mkdirSync(directory, { recursive: true });
      // Version 1: a new group of these may use nothing, and no process can be put into it.
      for (const file of ["cpuset.cpus", "cpuset.mems"]) {
        if (existsSync(join(parent, file)) && hierarchy !== root)
          writeFileSync(join(directory, file), readFileSync(join(parent, file)));
      }
    }
  }
}

/** Removes a control group and all groups in it. Their processes may still be ending: after 10 s it throws rmdir's error. */
export async function removeCgroup(path: string): Promise<void> {
  for (const hierarchy of hierarchies()) {
    const directory = join(hierarchy, path);
    for (let tries = 100; existsSync(directory); tries -= 1) {
      try {
        removeTree(directory);
      } catch (error) {
        if (tries === 0) throw error;
        await delay(100);
      }
    }
  }
}

function removeTree(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(directory, entry.name));
  }
  rmdirSync(directory);
}

/** The one hierarchy of version 2, or those of version 1. */
function hierarchies(): readonly string[] {
  if (existsSync(join(root, "cgroup.controllers"))) return [root];
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(root, name));
}
