import type { KubeObject, ObjectMeta } from "#kube";

/** An object as somebody sends it: a file, or an admission request. What the server sets may be absent, even the name. */
export type Submitted<T extends KubeObject> = Omit<T, "metadata"> & { readonly metadata: Partial<ObjectMeta> };
