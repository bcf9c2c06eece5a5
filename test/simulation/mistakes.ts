/** A mistake that the simulation must find: texts of the product's source that are replaced when it is loaded. */
export interface Mistake {
  readonly name: string;
  readonly edits: readonly { readonly file: string; readonly find: string; readonly put: string }[];
}

/** Each of these the simulation must find. */
export const mistakes: readonly Mistake[] = [];
