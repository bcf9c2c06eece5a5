import { run } from "./command.ts";
import type { LabNode } from "./node.ts";

const template = "/run/openvswitch-template.db";
const schema = "/usr/share/openvswitch/vswitch.ovsschema";

/** Makes, once for all nodes, a database with its one root row, which saves each node an `ovs-vsctl init`. */
export async function createDatabase(): Promise<string> {
  await run(["ovsdb-tool", "create", template, schema]);
  const insertRoot = JSON.stringify(["Open_vSwitch", { op: "insert", table: "Open_vSwitch", row: {} }]);
  await run(["ovsdb-tool", "transact", template, insertRoot]);
  return template;
}

/** Each daemon detaches when it serves, so that the second finds the first, and the script ends when both do. */
const startScript = `set -e
mkdir -p /var/log/openvswitch
[ -s /etc/openvswitch/conf.db ] || cat >/etc/openvswitch/conf.db
common="--detach --no-chdir --verbose=console:off --pidfile --log-file"
ovsdb-server $common --remote=punix:/run/openvswitch/db.sock /etc/openvswitch/conf.db
ovs-vswitchd $common unix:/run/openvswitch/db.sock`;

/**
 * Starts Open vSwitch in a node, with its run directory and `db.sock` at their usual places. Bridges of an earlier life of
 * the node come back. `database` is the file that {@link createDatabase} made.
 */
export async function startOpenVswitch(node: LabNode, database: string): Promise<void> {
  // The node does not see the lab's /run: the template travels as standard input of a shell that is already inside.
  await run([
    "sh",
    "-c",
    'database=$1; shift; exec "$@" <"$database"',
    "sh",
    database,
    ...node.command(["sh", "-c", startScript]),
  ]);
}
