/**
 * The client of the Kubernetes API for agent and controller: transport, typed calls, watched stores, work queue and
 * controllers, leader election, Events. Small on purpose: no discovery, no codecs but JSON, no generated clients, no
 * knowledge of our own kinds (`#api`) or of networks. Imports `#base` only; every module after it may import it.
 *
 * `kinds` are the objects, as far as they are read; `http` sends a request and reads its answer; `client.ts` makes calls of that;
 * `watch` keeps a collection in memory; `controller` reconciles, and elects who does.
 *
 * Unit tests use `testing/fake-api.ts`, a Transport with an API server's behaviour in memory and faults on demand.
 */
export { type JsonPatchOperation, KubeClient, type PodText, type Selection } from "./client.ts";
export {
  type ControllerMetrics,
  type ControllerOptions,
  fromStore,
  KeySource,
  reconcileResults,
  runController,
  type Source,
  TerminalError,
} from "./controller/controller.ts";
export { LeaderElector, type Term } from "./controller/election.ts";
export { ApiStatusError, ApiUnreachableError, hasReason, surelyUnchanged } from "./errors.ts";
export { EventRecorder, type EventSubject, type EventText, nodeSubject, subjectOf } from "./events.ts";
export { type AskForCredentials, type KubeConfig, loadKubeConfig } from "./http/config.ts";
export { type ApiRequest, type ApiResponse, createTransport, type Transport } from "./http/transport.ts";
export * from "./kinds/core.ts";
export { isMirrorPod, isPodAlive, isPodUid, isStaticPodUid, readyCondition } from "./kinds/pod.ts";
export {
  apiVersionOf,
  controllerOf,
  type Draft,
  type KubeObject,
  keyOf,
  metadataOf,
  type ObjectMeta,
  type ObjectRef,
  type OwnerReference,
  parseApiVersion,
  parseKey,
  type Resource,
} from "./kinds/resource.ts";
export { isRetryable, mayRepeat, retry } from "./retry.ts";
export { type TopController, TopControllers, topControllerAmong } from "./top-controller.ts";
export { type Store, type StoreOptions, WatchedStore } from "./watch/store.ts";
export { isEarlier } from "./watch/watch-step.ts";
