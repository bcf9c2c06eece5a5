import { never } from "#base";
import { type CustomResourceDefinition, KubeClient } from "#kube";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { FakeApi } from "../../kube/testing/fake-api.ts";

/** An API in memory, and the lines that were printed. Time passes by itself. */
export function world() {
  const clock = new ManualClock();
  const api = new FakeApi({ clock });
  const said: string[] = [];
  const deps = { client: new KubeClient({ transport: api, clock }), clock, say: (line: string) => said.push(line) };
  const finish = async <T>(work: Promise<T>, meanwhile = () => {}): Promise<T> => {
    let done = false;
    const settled = work.finally(() => {
      done = true;
    });
    settled.catch(() => {});
    for (; !done; meanwhile()) await clock.advance(100);
    return settled;
  };
  return { api, deps, said, finish, o: { signal: never } };
}

/** A definition that the server serves. */
export const kind = (
  plural: string,
  group = "spiderpool.spidernet.io",
  schema: object = {},
): CustomResourceDefinition =>
  ({
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      names: { plural, kind: plural },
      scope: "Cluster",
      versions: [{ name: "v2beta1", served: true, storage: true, schema }],
    },
    status: { conditions: [{ type: "Established", status: "True" }] },
  }) as unknown as CustomResourceDefinition;
