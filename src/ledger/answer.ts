/** What an address was given with: kept in its claim as JSON, so that the same answer can be given again. */
export interface Answer {
  readonly prefix: number;
  readonly gw?: string;
  readonly clean?: true;
  readonly routes?: readonly { readonly dst: string; readonly gw: string }[];
}
