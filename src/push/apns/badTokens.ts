/**
 * The device tokens that APNs called bad in the last hour. It ends the
 * connection of whoever pushes to such tokens again and again, so each is
 * pushed to once, and the answer is given again from here.
 *
 * Dead tokens are not kept: they count as no error of the sender's, and one of
 * them may be registered anew.
 *
 * Source: Apple, "Handling notification responses from APNs".
 */

/** How long one is remembered, in milliseconds. */
const lifetimeMillis = 3_600_000

/** How many are remembered at most; then the oldest is forgotten. */
const maxTokens = 10_000

/** Bad device tokens and until when they are known, the oldest first. */
export class BadTokens {
  private readonly until = new Map<string, number>()

  /** Was this token called bad? Costs nothing while none was. */
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
