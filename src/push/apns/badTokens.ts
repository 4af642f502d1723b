/**
 * The device tokens that APNs refused as BadDeviceToken in the last hour. APNs closes
 * the connection of a client that keeps pushing to such tokens. So each is sent once,
 * and later pushes get the same answer from here.
 *
 * Dead tokens are not kept: APNs does not count them as errors of the client, and the
 * app may register them again.
 *
 * Source: Apple, "Handling notification responses from APNs".
 */

/** How long a token is kept. */
const lifetimeMillis = 3_600_000

/** At most this many tokens are kept. The oldest goes first. */
const maxTokens = 10_000

/** The bad device tokens and their expiry, the oldest first. */
export class BadTokens {
  private readonly until = new Map<string, number>()

  /** Whether APNs refused this token. */
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
