/**
 * The connections of one credential to one of Apple's hosts.
 *
 * Requests wait here until a connection has room for them. What certainly was
 * not processed is sent again on another connection; every request ends once,
 * with an answer or an error. The pool grows while requests wait and all
 * connections are full, and shrinks when they are idle.
 *
 * It is careful with Apple: a connection that can't be opened, or is of no use,
 * is followed by a pause that doubles from one second to a minute. A fault of
 * the configuration opens a circuit: requests fail at once with `ConfigFault`,
 * and after each pause one is let through to see whether somebody has mended it.
 *
 * Everything up to the answer happens in plain functions, without a fiber, timer
 * or listener for a request; fibers open connections, renew tokens, and look
 * after the pool four times a second while something waits.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type * as Connection from "../http2/Connection.ts"
import type * as Http2Error from "../http2/Http2Error.ts"
import * as ApnsError from "./ApnsError.ts"
import * as Encoder from "./Encoder.ts"
import type * as ProviderToken from "./ProviderToken.ts"
import * as Reason from "./Reason.ts"
import * as Verdict from "./verdict.ts"
import { Waiting } from "./waiting.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** Headers as they are, names in lower case. */
export type Headers = ReadonlyArray<readonly [name: string, value: string]>

/** A request, but for `authorization`. */
export interface Request {
  readonly method: string
  readonly path: string
  /** Headers that many requests have in common: the same array for all of them. */
  readonly shared: Headers
  readonly headers: ReadonlyArray<Connection.Header>
  readonly body: Uint8Array | undefined
  /** Until when it may be sent, in seconds since 1970; `undefined` or 0 for no end. */
  readonly expiration: number | undefined
}

/** An answer, whatever its status. */
export interface Answered {
  readonly response: Connection.Response
  /** What its body says, where it is no success. */
  readonly body: Reason.Body
  /** How many times the request was sent. */
  readonly attempts: number
  /** From `submit` to the answer, in milliseconds. */
  readonly duration: number
}

/** How a request ended. */
export type Outcome = Result.Result<Answered, ApnsError.ApnsError>

/** What a pool does and how much of it. */
export interface Options {
  /** Opens a connection, for as long as the scope lasts. */
  readonly open: Effect.Effect<Connection.Connection, Http2Error.Http2Error, Scope.Scope>
  /** Signs for requests; none with a certificate. */
  readonly providerToken: ProviderToken.ProviderToken | undefined
  readonly maxConnections: number
  /** How long a request may wait for a connection. */
  readonly queueTimeout: Duration.Duration
  /** After how long without a request a connection that others can do the work of is closed. */
  readonly idleTimeout: Duration.Duration
  /** How long answers are waited for at the end. */
  readonly drainTimeout: Duration.Duration
}

interface Entry {
  readonly request: Request
  readonly settle: (outcome: Outcome) => void
  /** On the monotonic clock, in milliseconds. */
  readonly since: number
  attempts: number
  /** Was it sent with a token that was renewed for it? */
  isRenewed: boolean
  /** Was it given up? */
  isGiven: boolean
  /** Takes it back from the connection that it is on. */
  recall: (() => void) | undefined
}

interface Member {
  readonly connection: Connection.Connection
  readonly scope: Scope.Closeable
  /** How many answers came. */
  answers: number
  /** How many of the last answers, without one between, were of a server that failed. */
  serverErrors: number
  usedAt: number
  /** Does it get no more requests? */
  isRetired: boolean
}

/** Requests go in here. */
export interface Pool {
  /** `settle` is called once, and never before `submit` returns. What comes back gives the request up. */
  readonly submit: (request: Request, settle: (outcome: Outcome) => void) => () => void
  /** Takes another credential: new connections are opened with it, and the old ones are closed when they are done. */
  readonly replace: (credential: Pick<Options, "open" | "providerToken">) => void
}

// -----------------------------------------------------------------------------
// Limits
// -----------------------------------------------------------------------------

/** How often the pool is looked after while something waits. */
const interval = Duration.millis(250)

/** How often a request is sent that is refused each time. */
const maxAttempts = 20

/** Server errors in a row after which a connection is replaced. */
const maxServerErrors = 2

const maxPause = 60_000

/** After so many failures in a row: a pause of up to 1, 2, 4, ... 60 seconds, at least half of it. */
export const pause = (failures: number, random: number): number =>
  Math.min(maxPause, 1000 * 2 ** Math.min(failures - 1, 16)) * (0.5 + random / 2)

// Values that come again and again cost a byte; those that differ from push to push are not remembered.
const isRemembered = (name: string): boolean => name !== "apns-collapse-id"

const noBody: Reason.Body = { reason: undefined, timestamp: undefined }

const text = new TextDecoder()

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** Makes a pool. It opens its first connection for its first request. At the end of the scope it finishes what was sent. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Pool, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  // closed by the pool's own finalizer, after what was sent is answered
  const scope = yield* Scope.make()
  const run = Effect.runForkWith(yield* Effect.context())
  const fork = (effect: Effect.Effect<unknown>) => void run(Effect.forkIn(effect, scope))
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  const { drainTimeout, maxConnections } = options
  const queueTimeout = Duration.toMillis(options.queueTimeout)
  const idleTimeout = Duration.toMillis(options.idleTimeout)
  let { open: dial, providerToken } = options

  const waiting = new Waiting<Entry>()
  const members = new Set<Member>()
  let inFlight = 0
  let isOpening = false
  let isClosed = false
  let isTicking = false
  let wasFull = false

  /** Failures in a row, and when the pause after the last one is over. */
  let failures = 0
  let resumeAt = 0
  let lastFailure: string | undefined
  /** The circuit is open while there is a fault; what ends it is an answer. */
  let fault: ApnsError.ApnsError | undefined

  let token: ProviderToken.Token | undefined
  let isRenewing = false
  let shared = new WeakMap<Headers, ReadonlyArray<Connection.Header>>()

  // ---------------------------------------------------------------------------
  // Ends
  // ---------------------------------------------------------------------------

  const settle = (entry: Entry, outcome: Outcome): void => {
    if (entry.isGiven) return
    entry.isGiven = true
    entry.settle(outcome)
  }

  const fail = (entry: Entry, reason: ApnsError.ApnsErrorReason) => settle(entry, Result.fail(ApnsError.make(reason)))

  const failWaiting = (error: ApnsError.ApnsError): void => {
    for (const entry of waiting.takeAll()) settle(entry, Result.fail(error))
  }

  // ---------------------------------------------------------------------------
  // Pauses and faults
  // ---------------------------------------------------------------------------

  const failed = (detail: string): void => {
    failures++
    lastFailure = detail
    resumeAt = now() + pause(failures, random.nextDoubleUnsafe())
  }

  const setFault = (error: ApnsError.ApnsError): void => {
    // answers to what was sent together tell of one fault
    if (fault !== undefined && now() < resumeAt) return
    if (fault?.message !== error.message) fork(Effect.logError(error.message))
    fault = error
    failed(error.message)
    failWaiting(error)
  }

  const isPaused = (): boolean => now() < resumeAt

  const worked = (): void => {
    failures = 0
    resumeAt = 0
    lastFailure = undefined
    fault = undefined
  }

  // ---------------------------------------------------------------------------
  // Provider tokens
  // ---------------------------------------------------------------------------

  const use = (fresh: ProviderToken.Token): void => {
    if (fresh.generation !== token?.generation) shared = new WeakMap()
    token = fresh
  }

  const renew = (made: Effect.Effect<ProviderToken.Token>): void => {
    if (isRenewing) return
    isRenewing = true
    fork(Effect.map(made, (fresh) => {
      isRenewing = false
      use(fresh)
      pump()
    }))
  }

  const isSigned = (): boolean => {
    if (providerToken === undefined) return true
    if (token !== undefined && clock.currentTimeMillisUnsafe() < token.until) return true
    renew(providerToken.current)
    return false
  }

  const sharedOf = (headers: Headers): ReadonlyArray<Connection.Header> => {
    const known = shared.get(headers)
    if (known !== undefined) return known
    const made: Array<Connection.Header> = headers.map(([name, value]) => ({ name, value, index: isRemembered(name) }))
    if (providerToken !== undefined && token !== undefined) {
      made.push({ name: "authorization", value: `bearer ${Redacted.value(token.jwt)}`, index: true })
    }
    shared.set(headers, made)
    return made
  }

  /** Sends a request again with a new token, once; when there is none to be had, the answer stands. */
  const withNewToken = (entry: Entry, generation: number, answered: Answered): void => {
    if (providerToken === undefined || entry.isRenewed) return settle(entry, Result.succeed(answered))
    entry.isRenewed = true
    fork(Effect.map(providerToken.expired(generation), (fresh) => {
      use(fresh)
      if (fresh.generation === generation) return settle(entry, Result.succeed(answered))
      again(entry)
      pump()
    }))
  }

  // ---------------------------------------------------------------------------
  // Connections
  // ---------------------------------------------------------------------------

  const retire = (member: Member): void => {
    if (member.isRetired) return
    member.isRetired = true
    fork(member.connection.retire)
  }

  /** The server wants no more requests on a connection. Where it took none at all, the next one can wait. */
  const sentAway = (member: Member): void => {
    if (member.isRetired) return
    member.isRetired = true
    const goaway = member.connection.goaway()
    const told = goaway === undefined ? undefined : Verdict.faultIn(goaway.debug)
    if (told !== undefined) setFault(told)
    else if (member.answers === 0) failed("the connection was closed by APNs before it answered")
  }

  const join = (connection: Connection.Connection, own: Scope.Closeable): void => {
    const member: Member = {
      connection,
      scope: own,
      answers: 0,
      serverErrors: 0,
      usedAt: now(),
      isRetired: false
    }
    members.add(member)
    connection.onRoom(() => {
      if (!connection.isOpen()) sentAway(member)
      pump()
    })
    fork(Effect.flatMap(connection.closed, () => {
      sentAway(member)
      members.delete(member)
      pump()
      return Scope.close(own, Exit.void)
    }))
    pump()
  }

  const openOne = (): void => {
    if (isOpening || isClosed) return
    isOpening = true
    const from = dial
    fork(Effect.gen(function*() {
      const own = yield* Scope.fork(scope)
      const opened = yield* Effect.result(Scope.provide(from, own))
      isOpening = false
      if (Result.isFailure(opened)) {
        yield* Scope.close(own, Exit.void)
        const error = opened.failure
        const broken = Verdict.faultOf(error)
        if (broken !== undefined) setFault(broken)
        else {
          failed(error.message)
          yield* Effect.logWarning(`no connection to APNs: ${error.message}`)
        }
        return pump()
      }
      // the credential was replaced meanwhile
      if (from !== dial) yield* Scope.close(own, Exit.void)
      else join(opened.success, own)
      pump()
    }))
  }

  /** The connection with the most room. */
  const roomiest = (): Member | undefined => {
    let best: Member | undefined
    let most = 0
    for (const member of members) {
      const room = member.isRetired ? 0 : member.connection.room()
      if (room > most) {
        most = room
        best = member
      }
    }
    return best
  }

  const usable = (): number => {
    let count = 0
    for (const { isRetired } of members) if (!isRetired) count++
    return count
  }

  // ---------------------------------------------------------------------------
  // Sending
  // ---------------------------------------------------------------------------

  const again = (entry: Entry): void => {
    if (entry.isGiven) return
    if (isClosed) return fail(entry, new ApnsError.NotSent({ detail: "the connections were closed" }))
    if (entry.attempts >= maxAttempts) {
      return fail(entry, new ApnsError.Refused({ detail: `it was refused ${entry.attempts} times` }))
    }
    waiting.putBack(entry)
  }

  const send = (entry: Entry, member: Member): void => {
    const { request } = entry
    const generation = token?.generation ?? 0
    entry.attempts++
    inFlight++
    const { body, headers, method, path } = request
    const submitted = member.connection.submit(
      { method, path, shared: sharedOf(request.shared), headers, body },
      (answer) => {
        inFlight--
        entry.recall = undefined
        if (Result.isSuccess(answer)) answered(entry, member, generation, answer.success)
        else if (answer.failure.fate === "NotProcessed" && answer.failure.reason._tag !== "RequestInvalid") again(entry)
        else fail(entry, Verdict.failureOf(answer.failure))
      }
    )
    entry.recall = () => {
      inFlight--
      member.connection.cancel(submitted)
    }
    member.usedAt = entry.since
  }

  const answered = (entry: Entry, member: Member, generation: number, response: Connection.Response): void => {
    const { status } = response
    member.answers++
    const body = status < 300 ? noBody : Reason.parseBody(text.decode(response.body))
    const verdict = Verdict.ofAnswer(status, body)
    const result: Answered = { response, body, attempts: entry.attempts, duration: now() - entry.since }

    if (verdict.isServerError) {
      if (++member.serverErrors >= maxServerErrors && !member.isRetired) {
        failed(`APNs answered ${status}`)
        retire(member)
      }
    } else member.serverErrors = 0
    if (verdict.retire) retire(member)
    if (verdict.isFault) setFault(ApnsError.fromAnswer({ status, ...body }))
    else if (verdict.renew === "Nothing" && !verdict.isServerError) worked()

    if (verdict.renew === "Token") withNewToken(entry, generation, result)
    else if (verdict.renew === "Connection" && entry.attempts < maxAttempts) again(entry)
    else settle(entry, Result.succeed(result))
  }

  /** Hands requests to connections for as long as there are both. */
  const pump = (): void => {
    if (isClosed || waiting.size === 0) return
    if (isPaused()) return fault === undefined ? tick() : failWaiting(fault)
    if (!isSigned()) return
    const wall = clock.currentTimeMillisUnsafe()
    let member = roomiest()
    while (member !== undefined && waiting.size > 0) {
      // to see whether a fault is mended takes one request
      if (fault !== undefined && inFlight > 0) break
      const entry = waiting.take()!
      const { expiration } = entry.request
      if (entry.isGiven) continue
      if (Encoder.isExpired(expiration, wall)) fail(entry, new ApnsError.Expired({ expiration: expiration! }))
      else {
        send(entry, member)
        member = roomiest()
      }
    }
    if (waiting.size === 0) return
    if (usable() === 0) openOne()
    tick()
  }

  // ---------------------------------------------------------------------------
  // Looking after the pool
  // ---------------------------------------------------------------------------

  const giveUpLate = (time: number): void => {
    for (const entry of waiting.takeWhile(({ since }) => time - since >= queueTimeout)) {
      fail(
        entry,
        lastFailure === undefined
          ? new ApnsError.Timeout({ stage: "Queue", after: options.queueTimeout })
          : new ApnsError.NotSent({ detail: lastFailure })
      )
    }
  }

  /** Slow start: no second connection before the first has had an answer, and no more than one at a time. */
  const grow = (): void => {
    const isFull = waiting.size > 0 && roomiest() === undefined
    const isEstablished = Array.from(members).every(({ answers, isRetired }) => answers > 0 || isRetired)
    if (isFull && wasFull && fault === undefined && isEstablished && usable() < maxConnections) openOne()
    wasFull = isFull
  }

  const shrink = (time: number): void => {
    for (const member of members) {
      if (usable() <= 1) return
      if (member.connection.pending() === 0 && time - member.usedAt >= idleTimeout) retire(member)
    }
  }

  const tick = (): void => {
    if (isTicking) return
    isTicking = true
    fork(
      Effect.gen(function*() {
        while (waiting.size > 0 || usable() > 1) {
          yield* Effect.sleep(interval)
          const time = now()
          giveUpLate(time)
          if (!isPaused()) grow()
          shrink(time)
          pump()
        }
        wasFull = false
      }).pipe(Effect.ensuring(Effect.sync(() => {
        isTicking = false
      })))
    )
  }

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isClosed = true
      failWaiting(ApnsError.make(new ApnsError.NotSent({ detail: "the connections were closed" })))
      return Effect.forEach(members, ({ connection }) => connection.retire, { concurrency: "unbounded", discard: true })
        .pipe(Effect.timeoutOption(drainTimeout), Effect.andThen(Scope.close(scope, Exit.void)))
    })
  )

  return {
    submit: (request, settle) => {
      const entry: Entry = {
        request,
        settle,
        since: now(),
        attempts: 0,
        isRenewed: false,
        isGiven: false,
        recall: undefined
      }
      const atOnce = isClosed
        ? ApnsError.make(new ApnsError.NotSent({ detail: "the connections were closed" }))
        : fault !== undefined && isPaused()
        ? fault
        : undefined
      if (atOnce === undefined) {
        waiting.put(entry)
        pump()
      } else queueMicrotask(() => entry.isGiven || settle(Result.fail(atOnce)))
      return () => {
        entry.isGiven = true
        entry.recall?.()
      }
    },
    replace: (credential) => {
      dial = credential.open
      providerToken = credential.providerToken
      token = undefined
      shared = new WeakMap()
      worked()
      members.forEach(retire)
      pump()
    }
  }
})
