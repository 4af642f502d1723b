/**
 * The connections of a pool: opens them, picks the best, and replaces useless ones.
 *
 * After a connection that does not open, or proves useless, the pool pauses before
 * it opens the next. The pause doubles from one second to a minute; the useful
 * connections go on meanwhile. An idle connection must answer a PING before it gets
 * a request, unless the service punishes PINGs. A stuck connection is replaced: it may allow no streams or accept no
 * bytes, and still answer PINGs. When the credential changes, the old connections
 * no longer count, and close when their requests have ended.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type Connection, type Http2Error, Message } from "../../http2/index.ts"
import { Backoff } from "./backoff.ts"
import type { Failure, Judgement, Provider, Refusal } from "./Provider.ts"
import type { Runtime } from "./runtime.ts"

/** Opens a connection, which the scope closes. */
export type Open = Effect.Effect<Connection.Connection, Http2Error.Http2Error, Scope.Scope>

/** A connection and its state. Times are in milliseconds of the monotonic clock. */
export interface Member {
  readonly connection: Connection.Connection
  /** How it was opened. */
  readonly open: Open
  answers: number
  /** Whether an answer has shown that the connection works. */
  isProven: boolean
  /** How many server errors came in a row. */
  serverErrors: number
  /** The generation of the authorization of its last request. */
  generation: number
  /** When it got its last request, and when its last answer arrived. */
  usedAt: number
  heardAt: number
  /** Since when its requests wait for an answer, or since when it has no room although it is idle. */
  stuckSince: number
  /** Whether a PING must be answered before it gets a request. */
  isPinging: boolean
  /** Whether it gets no more requests. */
  isRetired: boolean
  /** Whether it has reported a configuration fault or an expired authorization. */
  isFaulty: boolean
}

/** The limits of the connections. Times are in milliseconds. */
export interface Limits {
  readonly maxConnections: number
  /** Closes surplus connections after this idle time, or all of them. */
  readonly idleTimeout: number
  readonly closesLast: boolean
  /** An idle connection must answer a PING after this time, before its next request. */
  readonly doubtAfter: number
  /** How long a request may wait for a connection. */
  readonly queueTimeout: number
}

/** The callbacks of the connections. */
export interface Listener<in E> {
  /** A connection opened, has room, retired or closed. */
  readonly changed: () => void
  /** A configuration fault prevents a connection, or made the server close one. */
  readonly configFault: (fault: E) => void
  /** The server closed a connection because the authorization of this generation has expired. */
  readonly expired: (generation: number) => void
}

const limitsText = "because of its limit of streams or its window"

/** A connection is replaced after this many server errors in a row. */
const maxServerErrors = 2

/** A connection is stuck after a third of the queue timeout, within these bounds. */
const minStuckMillis = 5000
const maxStuckMillis = 10_000

/** Whether `one` is the better connection: first one without a server error, then the one with more room. */
const isBetter = (one: Member, room: number, other: Member, otherRoom: number): boolean =>
  (one.serverErrors === 0) === (other.serverErrors === 0) ? room > otherRoom : one.serverErrors === 0

/** The connections of one pool. */
export class Connections<R extends Refusal, E extends Failure> {
  private readonly members = new Set<Member>()
  private readonly backoff: Backoff
  private readonly provider: Provider<R, E>
  private readonly limits: Limits
  private readonly listener: Listener<E>
  private readonly runtime: Runtime
  private open: Open
  private opening: Open | undefined
  private wasFull = false
  private readonly stuckMillis: number

  constructor(open: Open, provider: Provider<R, E>, limits: Limits, listener: Listener<E>, runtime: Runtime) {
    this.open = open
    this.provider = provider
    this.limits = limits
    this.listener = listener
    this.runtime = runtime
    // The next connection must open and answer before the waiting requests time out.
    this.stuckMillis = Math.max(minStuckMillis, Math.min(maxStuckMillis, limits.queueTimeout / 3))
    this.backoff = new Backoff(() => runtime.random())
  }

  /** Retires all connections, and opens new ones with `open`. */
  replace(open: Open): void {
    this.open = open
    this.backoff.worked()
    for (const member of this.members) this.retire(member)
  }

  /** Whether the connection belongs to the current credential. */
  isCurrent(member: Member): boolean {
    return member.open === this.open
  }

  /** Why the last connection did not open or was useless. */
  get lastFailure(): string | undefined {
    return this.backoff.lastFailure
  }

  /** How many connections are not retired. */
  get usable(): number {
    let count = 0
    for (const { isRetired } of this.members) if (!isRetired) count++
    return count
  }

  /** The best connection with room for the next request, if there is one. */
  roomiest(): Member | undefined {
    let best: Member | undefined
    let most = 0
    for (const member of this.members) {
      const room = this.roomOf(member)
      if (room === 0 || (best !== undefined && !isBetter(member, room, best, most))) continue
      best = member
      most = room
    }
    return best
  }

  private roomOf(member: Member): number {
    if (member.isRetired || member.isPinging) return 0
    const { connection, heardAt, usedAt } = member
    const now = this.runtime.now()
    if (connection.pending() > 0) return this.isStuck(member, now) ? 0 : connection.room()
    if (now - Math.max(heardAt, usedAt) < this.limits.doubtAfter) return connection.room()
    this.pingFirst(member)
    return 0
  }

  /** Whether the connection has given no answer for too long. */
  private isStuck({ heardAt, stuckSince }: Member, now: number): boolean {
    return now - Math.max(heardAt, stuckSince) >= this.stuckMillis
  }

  /** Records that a request leaves on it. */
  sends(member: Member, generation: number): void {
    const now = this.runtime.now()
    member.generation = generation
    member.usedAt = now
    if (member.connection.pending() === 0) member.stuckSince = now
  }

  /** Waits for a PING before the next request. A connection without an answer closes by itself. */
  private pingFirst(member: Member): void {
    member.isPinging = true
    this.runtime.fork(Effect.map(Effect.result(member.connection.ping), () => {
      member.isPinging = false
      member.heardAt = this.runtime.now()
      this.listener.changed()
    }))
  }

  // ---------------------------------------------------------------------------
  // Growing and shrinking
  // ---------------------------------------------------------------------------

  /** Opens a connection, unless one is opening or the pause lasts. */
  openOne(): void {
    const { open } = this
    if (this.opening === open || this.backoff.isPaused(this.runtime.now())) return
    this.opening = open
    this.runtime.fork(Effect.gen({ self: this }, function*() {
      const own = yield* Scope.fork(this.runtime.scope)
      const opened = yield* Effect.exit(Scope.provide(open, own))
      if (this.opening === open) this.opening = undefined
      const isWanted = open === this.open
      if (isWanted && Exit.isSuccess(opened)) this.add(opened.value, own)
      else {
        yield* Scope.close(own, Exit.void)
        if (isWanted) yield* this.dialFailed(opened)
      }
      this.listener.changed()
    }))
  }

  /** Opens one more connection if all were full twice in a row and each has had an answer. Call it regularly. */
  grow(isWaiting: boolean): void {
    const isFull = isWaiting && this.roomiest() === undefined
    const isEstablished = Array.from(this.members).every(({ answers, isRetired }) => answers > 0 || isRetired)
    if (isFull && this.wasFull && isEstablished && this.usable < this.limits.maxConnections) this.openOne()
    this.wasFull = isFull
  }

  /** Whether requests wait for a stream of a connection. */
  get hasQueued(): boolean {
    for (const { connection } of this.members) if (connection.queued() > 0) return true
    return false
  }

  /** Why requests wait, if a connection accepts none. */
  get whyWaiting(): string | undefined {
    for (const { connection, isPinging, isRetired } of this.members) {
      if (!isRetired && !isPinging && connection.pending() === 0 && connection.room() === 0) {
        return `a connection to ${this.provider.name} allows no push ${limitsText}`
      }
    }
    return undefined
  }

  /** Replaces stuck connections. Call it regularly while requests wait. */
  replaceStuck(): void {
    const now = this.runtime.now()
    const seconds = Math.round(this.stuckMillis / 1000)
    for (const member of this.members) {
      const { connection, isPinging, isRetired } = member
      if (isRetired) continue
      const pending = connection.pending()
      if (pending > 0) {
        if (this.isStuck(member, now)) {
          this.replaceUseless(member, `it answered none of ${pending} pushes in ${seconds} s`)
        }
      } else if (isPinging) continue
      else if (connection.room() > 0) member.stuckSince = now
      else if (now - member.stuckSince >= this.stuckMillis) {
        this.replaceUseless(member, `it allowed no push for ${seconds} s ${limitsText}`)
      }
    }
  }

  /** Counts a request without a readable answer on a connection that goes on as a server error. */
  requestUnknown(member: Member, why: string): void {
    if (!member.connection.isOpen() || member.isRetired) return
    if (++member.serverErrors >= maxServerErrors) this.replaceUseless(member, why)
  }

  /** Retires a connection that has become useless, and logs why. */
  replaceUseless(member: Member, why: string): void {
    if (member.isRetired) return
    // The next connection may be no better, so it must wait for the pause.
    member.isProven = false
    const { name } = this.provider
    this.retireUseless(member, `a connection to ${name} was useless: ${why}`)
    this.runtime.fork(Effect.logWarning(`replaced a connection to ${name}: ${why}`))
  }

  /** Closes surplus idle connections. Call it regularly. */
  shrink(): void {
    const now = this.runtime.now()
    for (const member of this.members) {
      if (this.usable <= 1) return
      if (member.connection.pending() === 0 && now - member.usedAt >= this.limits.idleTimeout) this.retire(member)
    }
  }

  /** Closes a connection after its idle time, even if it is the last one. */
  private closeWhenIdle(member: Member): Effect.Effect<void> {
    const { idleTimeout } = this.limits
    return Effect.gen({ self: this }, function*() {
      while (!member.isRetired) {
        this.runtime.forgetTime()
        const idle = member.connection.pending() > 0 ? 0 : this.runtime.now() - member.usedAt
        if (idle >= idleTimeout) return this.retire(member)
        yield* Effect.sleep(idleTimeout - idle)
      }
    })
  }

  private add(connection: Connection.Connection, own: Scope.Closeable): void {
    const now = this.runtime.now()
    const member: Member = {
      connection,
      open: this.open,
      answers: 0,
      isProven: false,
      serverErrors: 0,
      generation: 0,
      usedAt: now,
      heardAt: now,
      stuckSince: now,
      isPinging: false,
      isRetired: false,
      isFaulty: false
    }
    this.members.add(member)
    connection.onRoom(() => {
      if (!connection.isOpen()) this.serverRetired(member, { goaway: connection.goaway() })
      this.listener.changed()
    })
    if (this.limits.closesLast) this.runtime.fork(this.closeWhenIdle(member))
    this.runtime.fork(Effect.flatMap(connection.closed, (ending) => {
      this.serverRetired(member, ending)
      this.members.delete(member)
      this.listener.changed()
      return Scope.close(own, Exit.void)
    }))
  }

  private dialFailed(exit: Exit.Exit<unknown, Http2Error.Http2Error>): Effect.Effect<void> {
    const error = Exit.isFailure(exit) ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error : undefined
    const detail = error?.message ?? "no connection opened"
    this.backoff.failed(this.runtime.now(), detail)
    const fault = error === undefined ? undefined : this.provider.judgeDial(error)
    // While other connections work, this server may be the only one with the fault.
    if (fault === undefined || this.usable > 0) {
      return Effect.logWarning(`can't connect to ${this.provider.name}: ${detail}`)
    }
    this.listener.configFault(fault)
    return Effect.void
  }

  // ---------------------------------------------------------------------------
  // Answers and ends
  // ---------------------------------------------------------------------------

  /** Records an answer, and retires the connection if the policy or its server errors say so. */
  answered(member: Member, { refusal, policy }: Judgement<R>): void {
    const { fault, isServerError, retire } = policy
    member.answers++
    member.heardAt = member.stuckSince = this.runtime.now()
    member.serverErrors = isServerError ? member.serverErrors + 1 : 0
    const isFailing = member.serverErrors >= maxServerErrors
    if (refusal !== undefined && (isFailing || retire)) {
      // A server that keeps failing may fail the next connection too.
      if (isFailing) member.isProven = false
      this.retireUseless(member, this.refusalText(refusal))
    } else if (!member.isProven && fault !== "All" && !isServerError) {
      member.isProven = true
      if (this.isCurrent(member)) this.backoff.worked()
    }
  }

  private refusalText({ reason, status }: Refusal): string {
    return `${this.provider.name} answered ${status}${reason === undefined ? "" : ` ${reason}`}`
  }

  /** Retires a useless connection. */
  retireUseless(member: Member, what: string): void {
    this.countUseless(member, what)
    this.retire(member)
  }

  private retire(member: Member): void {
    if (member.isRetired) return
    this.sendNoMore(member)
    this.runtime.fork(member.connection.retire)
  }

  /** Gives the connection no more requests. */
  private sendNoMore(member: Member): void {
    member.isRetired = true
    // Failures of additional connections must not delay the only one: the next one is opened at once.
    if (member.isProven && this.isCurrent(member) && this.usable === 0) this.backoff.worked()
  }

  /** Starts a pause before the next connection, if this one never worked. */
  private countUseless(member: Member, what: string): void {
    if (!member.isRetired && !member.isProven && this.isCurrent(member)) {
      this.backoff.failed(this.runtime.now(), what)
    }
  }

  /** The server retired or closed a connection. The reason may arrive in a second call. */
  private serverRetired(member: Member, end: Pick<Message.Ending, "goaway" | "rejection">): void {
    const isNews = !member.isFaulty && this.isCurrent(member)
    const fault = isNews ? this.provider.judgeEnd(end) : undefined
    if (!member.isRetired) {
      this.countUseless(member, this.uselessText(end, fault))
      this.sendNoMore(member)
    }
    if (fault === undefined) return
    member.isFaulty = true
    if (fault === "Expired") this.listener.expired(member.generation)
    else this.listener.configFault(fault)
  }

  private uselessText({ goaway }: Pick<Message.Ending, "goaway">, fault: E | "Expired" | undefined): string {
    if (fault !== undefined && fault !== "Expired") return fault.message
    const said = goaway === undefined ? "" : `: ${Message.goawayDetail(goaway)}`
    return `${this.provider.name} closed the connection before it answered a request${said}`
  }

  /** Waits for the answers to the sent requests, for at most this time, and closes all connections. */
  retireAll(atMost: Duration.Duration): Effect.Effect<void> {
    const ends = Array.from(this.members, ({ connection }) => connection.retire)
    return Effect.all(ends, { concurrency: "unbounded", discard: true }).pipe(
      Effect.timeoutOption(atMost),
      Effect.asVoid
    )
  }
}
