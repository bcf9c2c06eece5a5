import type { SpiderIPAddressSpec } from "#api";

/** What a Pod is told with its address. The claim keeps it as JSON, so that a repeated ADD gets the same answer. */
export interface Answer {
  readonly prefix: number;
  readonly gw?: string;
  readonly clean?: true;
  readonly routes?: readonly { readonly dst: string; readonly gw: string }[];
}

/** The answer that a claim keeps. The prefix is 0 if it has none. */
export function answerOf({ answer }: Pick<SpiderIPAddressSpec, "answer">): Answer {
  return answer === undefined ? { prefix: 0 } : JSON.parse(answer);
}
