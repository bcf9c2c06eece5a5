/** What a Pod is told with its address. The claim keeps it as JSON, so that a repeated ADD gets the same answer. */
export interface Answer {
  readonly prefix: number;
  readonly gw?: string;
  readonly clean?: true;
  readonly routes?: readonly { readonly dst: string; readonly gw: string }[];
}
