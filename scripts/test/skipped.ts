/** The exit code of a step whose tool is missing on this machine. */
export const skipped = 77
