import { formatError } from "#base";
import type { CommandName, FromSupervisor, LabCommands, ToSupervisor } from "./protocol.ts";

/** The launcher's first message; see protocol.ts. */
export type StartRequest<Spec> = Extract<ToSupervisor<Spec>, { readonly kind: "start" }>;

/**
 * Makes this process the supervisor of a lab: `create` builds it and reports each phase, and its commands are served to the
 * launcher. When the launcher is gone, this process ends, and with it everything else.
 */
export function supervise<Spec>(
  create: (request: StartRequest<Spec>, phase: (name: string) => void) => Promise<LabCommands>,
): void {
  process.on("disconnect", () => process.exit(0));
  let lab: LabCommands | undefined;
  process.on("message", (message: ToSupervisor<Spec>) => {
    switch (message.kind) {
      case "start":
        create(message, (phase) => tell({ kind: "phase", phase, atMs: performance.now() })).then(
          (created) => {
            lab = created;
            tell({ kind: "ready" });
          },
          (error: unknown) => tell({ kind: "failed", error: formatError(error) }),
        );
        return;
      case "command":
        answer(lab, message.name, message.request).then(
          (result) => tell({ kind: "answer", id: message.id, result }),
          (error: unknown) => tell({ kind: "answer", id: message.id, error: formatError(error) }),
        );
    }
  });
}

async function answer(lab: LabCommands | undefined, name: CommandName, request: unknown): Promise<unknown> {
  if (lab === undefined) throw new Error("the lab is not ready");
  return await lab[name](request as never);
}

function tell(message: FromSupervisor): void {
  process.send?.(message);
}
