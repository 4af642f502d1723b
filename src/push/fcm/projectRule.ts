/** The rule of a project's id. */

/** The rule that the id of a project breaks, or `undefined`. Old ids have a domain before a colon; numbers work, too. */
export const projectRule = (project: unknown): string | undefined =>
  typeof project === "string" && /^(?:[a-z0-9.-]{1,80}:)?[a-z0-9][a-z0-9-]{0,62}$/.test(project)
    ? undefined
    : "must be the id of a project: small letters, digits and hyphens, as the Firebase console shows it"
