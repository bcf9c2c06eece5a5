import type { LabHandle } from "../launch.ts";

/**
 * A CNI plugin of a few lines of shell: a veth into the Pod, a port of br1, addresses counted up from 172.18.(100+N).1 on
 * node N. It notes its calls in /var/log/toy and fails while /var/lib/cni/full exists.
 */
const plugin = `#!/bin/sh
cat >/dev/null
echo "$CNI_COMMAND $CNI_CONTAINERID" >>/var/log/toy
netns=$(basename "$CNI_NETNS") port=v$(printf %.12s "$CNI_CONTAINERID")
case $CNI_COMMAND in
ADD)
  if [ -e /var/lib/cni/full ]; then echo '{"code":100,"msg":"pool full"}'; exit 1; fi
  count=$(($(cat /var/lib/cni/count 2>/dev/null) + 1)); echo $count >/var/lib/cni/count
  ip=172.18.$((100 + $(hostname | tr -d node))).$count
  { ip link add $port up type veth peer name eth0 netns $netns
    ovs-vsctl add-port br1 $port
    ip -n $netns addr add $ip/16 dev eth0
    ip -n $netns link set eth0 up; } >&2
  echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"'$CNI_NETNS'"}],"ips":[{"address":"'$ip'/16","interface":0}]}' ;;
DEL)
  ovs-vsctl --if-exists del-port $port >&2
  ip link delete $port 2>/dev/null
  true ;;
esac
`;

/** Makes this the network of every node. */
export async function installToyNetwork(lab: LabHandle): Promise<void> {
  const config = JSON.stringify({ cniVersion: "1.0.0", name: "toy", type: "toy" });
  for (const { name: node } of lab.nodes) {
    await lab.run({ node, argv: ["sh", "-c", "cat >/opt/cni/bin/toy && chmod +x /opt/cni/bin/toy"], input: plugin });
    await lab.run({ node, argv: ["sh", "-c", "cat >/etc/cni/net.d/10-toy.conf"], input: config });
  }
}
