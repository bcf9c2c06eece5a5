import type { Signal, Steps } from "#base";
import type { Attachment, CniResult, PluginConfig, ValidAttachment } from "#cni";
import type { PairSpec, Together } from "./pairs.ts";

/**
 * One CNI plugin. It is created once, with its dependencies (`createOvsPlugin({ … })`), and serves all calls. `C` is its
 * decoded configuration.
 */
export interface Plugin<C> {
  /** The `type` of the configurations that it serves. */
  readonly type: string;
  /** The CNI versions whose configurations it takes. */
  readonly versions: readonly string[];
  /**
   * Reads and checks the configuration. Pure.
   *
   * @throws CniError 7 with field, value and what is allowed
   */
  decode(config: PluginConfig): C;
  /**
   * Checks, before anything is made, whether the attachment fits the others of its Pod. `interfaces` are the Pod's interfaces in
   * all its networks. Changes nothing.
   *
   * @throws CniError 7 with field, value and what is allowed
   */
  verify?(config: C, attachment: Attachment, interfaces: readonly string[], options: Signal): Promise<void>;
  /**
   * The pairs that ADD will need, if that is known before the earlier plugins of the chain have run. Changes nothing. Throws what
   * ADD would throw.
   */
  pairs?(config: C, attachment: Attachment, options: Signal): Promise<readonly PairSpec[]>;
  /**
   * Registers the undo of each side effect on `steps`, which the caller commits or aborts.
   *
   * @param together the pairs that later plugins of the chain need; absent: this plugin runs alone
   * @returns the whole result: prevResult with this plugin's additions
   */
  add(config: C, attachment: Attachment, steps: Steps, together?: Together): Promise<CniResult>;
  /** Throws if something is no longer as ADD has made it. */
  check(config: C, attachment: Attachment, options: Signal): Promise<void>;
  /** Idempotent: absent objects count as deleted. Needs neither the namespace nor prevResult. */
  del(config: C, attachment: Attachment, options: Signal): Promise<void>;
  /**
   * Makes again what somebody has removed from the node although the attachment exists. prevResult of the configuration is the
   * result of ADD. Does not change what exists.
   *
   * @returns a line for each thing that it made
   */
  restore?(config: C, attachment: Attachment, options: Signal): Promise<readonly string[]>;
  /** Removes what attachments of the network other than the valid ones have left behind. */
  gc?(config: C, valid: readonly ValidAttachment[], options: Signal): Promise<void>;
  /** Throws CniError 50 if an ADD could not work now. */
  status?(config: C, options: StatusOptions): Promise<void>;
}

/** A STATUS call: its deadline, and the plugin's position in the chain. */
export interface StatusOptions extends Signal {
  /** False if other plugins come before this one: they may make what it needs. */
  readonly isFirst: boolean;
}
