/** Settings of a real kernel. */
export function tuneNodeSysctls(): void {}

export function giveBack(): void {}
