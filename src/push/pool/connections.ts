/**
 * The connections of a pool: opening them, knowing which are of use, and
 * leaving those that are not.
 *
 * A connection that can't be opened, or is of no use, is followed by a pause
 * before the next one that doubles from one second to a minute; those that are
 * of use go on meanwhile. One that was idle is asked whether it is still there
 * before it gets a request. One on which nothing moves while requests wait is
 * left for another: it may allow no stream for ever, or take no bytes, and
 * answer PINGs all the same. When the way to open them changes, what the old
 * ones come to is of no interest any more: they are closed when they are done.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type Connection, type Http2Error, Message } from "../../http2/index.ts"
import { Backoff } from "./backoff.ts"
import type { Failure, Judgement, Provider, Refusal } from "./Provider.ts"
import type { Runtime } from "./runtime.ts"

/** Opens a connection, for as long as the scope lasts. */
export type Open = Effect.Effect<Connection.Connection, Http2Error.Http2Error, Scope.Scope>

/** A connection and what is known of it. Times are on the monotonic clock, in milliseconds. */
export interface Member {
  readonly connection: Connection.Connection
  /** How it was opened. */
  readonly open: Open
  /** How many answers came. */
  answers: number
  /** Did one of them say nothing against the connection? */
  isProven: boolean
  /** How many of the last answers, without one between, were of a server that failed. */
  serverErrors: number
  /** The authorization that its last request was signed with. */
  generation: number
  /** When it got its last request, and when its last answer came. */
  usedAt: number
  heardAt: number
  /** Since when what was sent on it waits for an answer, or it has no room though nothing is under way. */
  stuckSince: number
  /** Is it asked whether it is still there? */
  isPinging: boolean
  /** Does it get no more requests? */
  isRetired: boolean
  /** Has it told of a fault of the configuration, or of the authorization? */
  isFaulty: boolean
}

/** How many connections, and how long. Times in milliseconds. */
export interface Limits {
  readonly maxConnections: number
  /** After how long without a request one is closed that others can do the work of. */
  readonly idleTimeout: number
  /** How long a request may wait for a connection. */
  readonly queueTimeout: number
}

/** Whom connections tell what happens to them. */
export interface Listener<in E> {
  /** One is there or has room, or one is retired or gone. */
  readonly changed: () => void
  /** None can be had, or the server says good-bye, for a fault of the configuration. */
  readonly configFault: (fault: E) => void
  /** The server says good-bye because the authorization of this generation is too old. */
  readonly expired: (generation: number) => void
}

const limitsText = "by its limit of streams or its window"

/** Server errors in a row after which a connection is replaced. */
const maxServerErrors = 2

/** After so many milliseconds without an answer or a request a connection is asked whether it is still there. */
const pingAfterMillis = 5000

/** One on which nothing moves for so many milliseconds is left: sooner where requests can't wait that long. */
const minStuckMillis = 5000
const maxStuckMillis = 10_000

/** Of two connections with room: the one whose server has not just failed, then the one with more room. */
const isBetter = (one: Member, room: number, other: Member, otherRoom: number): boolean =>
  (one.serverErrors === 0) === (other.serverErrors === 0) ? room > otherRoom : one.serverErrors === 0

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
    // another one is to be opened, and to answer, before they give up
    this.stuckMillis = Math.max(minStuckMillis, Math.min(maxStuckMillis, limits.queueTimeout / 3))
    this.backoff = new Backoff(() => runtime.random())
  }

  /** Opens connections in another way from now on. */
  replace(open: Open): void {
    this.open = open
    this.backoff.worked()
    for (const member of this.members) this.retire(member)
  }

  isCurrent(member: Member): boolean {
    return member.open === this.open
  }

  /** Why there is no connection, or not one more. */
  get lastFailure(): string | undefined {
    return this.backoff.lastFailure
  }

  /** How many take requests, now or later. */
  get usable(): number {
    let count = 0
    for (const { isRetired } of this.members) if (!isRetired) count++
    return count
  }

  /** The best connection for the next request, if one has room. */
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
    if (now - Math.max(heardAt, usedAt) < pingAfterMillis) return connection.room()
    this.pingFirst(member)
    return 0
  }

  /** Nothing was answered for too long. */
  private isStuck({ heardAt, stuckSince }: Member, now: number): boolean {
    return now - Math.max(heardAt, stuckSince) >= this.stuckMillis
  }

  /** A request is to leave on it. */
  sends(member: Member, generation: number): void {
    const now = this.runtime.now()
    member.generation = generation
    member.usedAt = now
    if (member.connection.pending() === 0) member.stuckSince = now
  }

  /** One that does not answer ends by itself. */
  private pingFirst(member: Member): void {
    member.isPinging = true
    this.runtime.fork(Effect.map(Effect.result(member.connection.ping), () => {
      member.isPinging = false
      member.heardAt = this.runtime.now()
      this.listener.changed()
    }))
  }

  // ---------------------------------------------------------------------------
  // More and fewer
  // ---------------------------------------------------------------------------

  /** Opens one, unless it is being done or has to wait. */
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

  /** To be called now and then: slow start, no second one before the first has had an answer, and no more than one at a time. */
  grow(isWaiting: boolean): void {
    const isFull = isWaiting && this.roomiest() === undefined
    const isEstablished = Array.from(this.members).every(({ answers, isRetired }) => answers > 0 || isRetired)
    if (isFull && this.wasFull && isEstablished && this.usable < this.limits.maxConnections) this.openOne()
    this.wasFull = isFull
  }

  /** Do requests wait for a stream of a connection? */
  get hasQueued(): boolean {
    for (const { connection } of this.members) if (connection.queued() > 0) return true
    return false
  }

  /** What keeps requests waiting, where it is a connection that takes none. */
  get whyWaiting(): string | undefined {
    for (const { connection, isPinging, isRetired } of this.members) {
      if (!isRetired && !isPinging && connection.pending() === 0 && connection.room() === 0) {
        return `a connection to ${this.provider.name} allows no push, ${limitsText}`
      }
    }
    return undefined
  }

  /** To be called now and then while requests wait: leaves those on which nothing moves. */
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
        this.replaceUseless(member, `it allowed no push for ${seconds} s, ${limitsText}`)
      }
    }
  }

  /** A request on it got no answer that can be read, though the connection goes on. */
  requestUnknown(member: Member, why: string): void {
    if (!member.connection.isOpen() || member.isRetired) return
    if (++member.serverErrors >= maxServerErrors) this.replaceUseless(member, why)
  }

  /** Leaves one for another that is of no use now. */
  replaceUseless(member: Member, why: string): void {
    if (member.isRetired) return
    // another one may be no better
    member.isProven = false
    const { name } = this.provider
    this.retireUseless(member, `a connection to ${name} was of no use: ${why}`)
    this.runtime.fork(Effect.logWarning(`a connection to ${name} is left for another: ${why}`))
  }

  /** To be called now and then. */
  shrink(): void {
    const now = this.runtime.now()
    for (const member of this.members) {
      if (this.usable <= 1) return
      if (member.connection.pending() === 0 && now - member.usedAt >= this.limits.idleTimeout) this.retire(member)
    }
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
    this.runtime.fork(Effect.flatMap(connection.closed, (ending) => {
      this.serverRetired(member, ending)
      this.members.delete(member)
      this.listener.changed()
      return Scope.close(own, Exit.void)
    }))
  }

  private dialFailed(exit: Exit.Exit<unknown, Http2Error.Http2Error>): Effect.Effect<void> {
    const error = Exit.isFailure(exit) ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error : undefined
    const detail = error?.message ?? "no connection could be opened"
    this.backoff.failed(this.runtime.now(), detail)
    const fault = error === undefined ? undefined : this.provider.judgeDial(error)
    // while others go on it is one server of many
    if (fault === undefined || this.usable > 0) {
      return Effect.logWarning(`no connection to ${this.provider.name}: ${detail}`)
    }
    this.listener.configFault(fault)
    return Effect.void
  }

  // ---------------------------------------------------------------------------
  // What becomes of them
  // ---------------------------------------------------------------------------

  /** An answer came. */
  answered(member: Member, { refusal, policy }: Judgement<R>): void {
    const { fault, isServerError, retire } = policy
    member.answers++
    member.heardAt = member.stuckSince = this.runtime.now()
    member.serverErrors = isServerError ? member.serverErrors + 1 : 0
    const isFailing = member.serverErrors >= maxServerErrors
    if (refusal !== undefined && (isFailing || retire)) {
      // a server that fails again and again does so for the next connection too
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

  /** It is of no use any more. */
  retireUseless(member: Member, what: string): void {
    this.countUseless(member, what)
    this.retire(member)
  }

  private retire(member: Member): void {
    if (member.isRetired) return
    this.sendNoMore(member)
    this.runtime.fork(member.connection.retire)
  }

  /** Sends it no more requests. */
  private sendNoMore(member: Member): void {
    member.isRetired = true
    // the pauses that second connections have earned are not those of the first: the next one is dialled at once
    if (member.isProven && this.isCurrent(member) && this.usable === 0) this.backoff.worked()
  }

  /** One that never was of use makes the next one wait. */
  private countUseless(member: Member, what: string): void {
    if (!member.isRetired && !member.isProven && this.isCurrent(member)) {
      this.backoff.failed(this.runtime.now(), what)
    }
  }

  /** The server wants no more requests on a connection. It may say why later than that. */
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
    return `the connection was closed by ${this.provider.name} before it was of use${said}`
  }

  /** Waits for the answers to what was sent, for so long, and closes all. */
  retireAll(atMost: Duration.Duration): Effect.Effect<void> {
    const ends = Array.from(this.members, ({ connection }) => connection.retire)
    return Effect.all(ends, { concurrency: "unbounded", discard: true }).pipe(
      Effect.timeoutOption(atMost),
      Effect.asVoid
    )
  }
}
