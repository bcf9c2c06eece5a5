/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { text } from "../schema/fields.ts";

export const networkSpec = Type.Object({
  config: Type.Optional(text("CNI configuration as JSON text; empty: a file on the node that has this name.")),
});
