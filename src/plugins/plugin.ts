import type { Signal, Steps } from "#base";
import type { Attachment, CniResult, PluginConfig, ValidAttachment } from "#cni";
import type { PairSpec, Together } from "./pairs.ts";

/**
 * One CNI plugin. It is built once with what it needs (`createOvsPlugin({ … })`); a call brings only what belongs to that
 * call. `C` is its configuration, decoded.
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
   * Whether the attachment fits the others of its Pod, before any is made. `interfaces` are the Pod's interfaces, of all its
   * networks. Changes nothing.
   *
   * @throws CniError 7 with field, value and what is allowed
   */
  verify?(config: C, attachment: Attachment, interfaces: readonly string[], options: Signal): Promise<void>;
  /**
   * The pairs that ADD will need, if that is known before the plugins in front of this one have run. Changes nothing. Throws
   * what ADD would throw.
   */
  pairs?(config: C, attachment: Attachment, options: Signal): Promise<readonly PairSpec[]>;
  /**
   * Registers the undo of each side effect on `steps`; whoever made `steps` aborts or commits them.
   *
   * @param together what the plugins of the chain do for each other; absent: this plugin runs alone
   * @returns the whole result: what the plugin was given as prevResult, with its own additions
   */
  add(config: C, attachment: Attachment, steps: Steps, together?: Together): Promise<CniResult>;
  /** Throws where what ADD made is no longer as it was. */
  check(config: C, attachment: Attachment, options: Signal): Promise<void>;
  /** Idempotent: what is already gone is success, and neither namespace nor prevResult need exist. */
  del(config: C, attachment: Attachment, options: Signal): Promise<void>;
  /**
   * Makes again what somebody removed from the node although the attachment still exists. The configuration has the result of
   * ADD as its prevResult. Does not touch what is there.
   *
   * @returns a line for each thing that it made
   */
  restore?(config: C, attachment: Attachment, options: Signal): Promise<readonly string[]>;
  /** Removes what the network's attachments left behind, other than the valid ones. */
  gc?(config: C, valid: readonly ValidAttachment[], options: Signal): Promise<void>;
  /** Throws CniError 50 if an ADD could not work now. */
  status?(config: C, options: StatusOptions): Promise<void>;
}

/** The question's deadline, and what ran before. */
export interface StatusOptions extends Signal {
  /** False where plugins come before this one, which may make what it needs. */
  readonly isFirst: boolean;
}
