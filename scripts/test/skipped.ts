/** The exit code of a step that this machine has no tool for. */
export const skipped = 77
