import { after, before, describe } from "node:test";
import type { LabHandle } from "../../lab/launch.ts";
import { newest, oldest } from "../cluster/binaries.ts";
import { launchCluster } from "../cluster/launch.ts";
import { type Api, apiOf } from "../conformance/api.ts";
import { prepare, semantics } from "../conformance/semantics.ts";
import { stores } from "../conformance/stores.ts";

for (const version of [newest, oldest]) {
  describe(`kube-apiserver ${version}`, () => {
    let cluster: LabHandle;
    let api: Api;
    before(async () => {
      cluster = await launchCluster({ nodes: 0, controllers: false, version, say: console.log });
      api = apiOf(cluster.kubeconfig);
      await prepare(api);
    });
    after(() => cluster.stop());
    semantics(() => api);
    stores(() => cluster.kubeconfig);
  });
}
