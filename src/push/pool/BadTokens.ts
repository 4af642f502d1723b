/**
 * The tokens that a service has refused for good in the last hour. Later pushes to them
 * get the same answer from here, so that each is sent once: services count such requests
 * against their client.
 */

/** How long a token is kept. */
const lifetimeMillis = 3_600_000

/** At most this many tokens are kept. The oldest goes first. */
const maxTokens = 10_000

/** The refused tokens and their expiry, the oldest first. */
export class BadTokens {
  private readonly until = new Map<string, number>()

  /** Whether the service refused this token. */
  has(token: string, now: () => number): boolean {
    if (this.until.size === 0) return false
    const until = this.until.get(token)
    if (until === undefined) return false
    if (now() < until) return true
    this.until.delete(token)
    return false
  }

  add(token: string, now: number): void {
    this.until.delete(token)
    if (this.until.size >= maxTokens) this.until.delete(this.until.keys().next().value!)
    this.until.set(token, now + lifetimeMillis)
  }
}
