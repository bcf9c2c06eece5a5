import type { KubeObject, ObjectMeta } from "#kube";

/** An object as sent, in a file or an admission request. Fields that the server sets may be absent, even the name. */
export type Submitted<T extends KubeObject> = Omit<T, "metadata"> & { readonly metadata: Partial<ObjectMeta> };
