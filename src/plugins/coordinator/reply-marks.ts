import { ensureReplyMarks, hasReplyMarks, type Netns } from "#linux";

/** How a Pod's connections that came in by an interface are marked, so that their replies leave by it. */
export interface ReplyMarks {
  /** Makes the rules in the Pod's namespace where they are not there. */
  ensure(pod: Netns, link: string, mark: number): void;
  has(pod: Netns, link: string, mark: number): boolean;
}

/** By nf_tables over netlink. Throws NF_TABLES_MISSING if the kernel lacks it. */
export const nftReplyMarks: ReplyMarks = { ensure: ensureReplyMarks, has: hasReplyMarks };
