import { join } from "node:path";
import { run } from "../../lab/topology/index.ts";

/**
 * Runs as process 1 of namespaces of its own, so that nothing of it stays. Arguments: the path of the result, then the archives.
 * It works in memory, because containerd's snapshots are overlays, which not every file system supports.
 */
const script = `set -e
store=$1; shift
mount -t tmpfs tmpfs /run
cd /run
cat >config.toml
containerd --config config.toml >log 2>&1 &
timeout 120 sh -c 'until ctr --address /run/socket version >/dev/null 2>&1; do sleep 0.05; done' || { cat log >&2; exit 1; }
for archive; do ctr --address /run/socket --namespace k8s.io image import "$archive" >/dev/null; done
kill $!
wait $! || true
tar --create --xattrs --file "$store" --directory root .
`;

const configuration = `version = 2
root = "/run/root"
state = "/run/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "/run/socket"
`;

/**
 * Unpacks image archives once, for all nodes that run the machine's own containerd: a tar of what is then below its root. A node
 * that begins with it saves seconds of a processor. Needs root. Returns the tar's path, in `folder`. Throws SpiderError
 * LAB_COMMAND.
 */
export async function makeImageStore(folder: string, archives: readonly string[]): Promise<string> {
  const store = join(folder, "image-store.tar");
  const alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"];
  await run([...alone, store, ...archives], { input: configuration });
  return store;
}
