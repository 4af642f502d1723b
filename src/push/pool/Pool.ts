/**
 * The pushes of one credential to one of Apple's hosts.
 *
 * Requests wait here until a connection has room for them. What certainly was
 * not processed is sent again on another connection; every request ends once,
 * with an answer or an error. The pool grows while requests wait and all
 * connections are full, and shrinks when they are idle: see `connections`.
 * Where the configuration is at fault requests fail at once: see `circuit`.
 *
 * Another credential may take the place of the old one at any time. Requests
 * that wait go out with the new one, and so does what the old one was refused
 * for; the other answers to what was sent with the old one count.
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
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type * as Connection from "../../http2/Connection.ts"
import type * as Http2Error from "../../http2/Http2Error.ts"
import * as Verdict from "../apns/answer/answerPolicy.ts"
import * as ApnsError from "../apns/answer/ApnsError.ts"
import * as Reason from "../apns/answer/Reason.ts"
import type * as ProviderToken from "../apns/credential/ProviderToken.ts"
import * as Encoder from "../apns/notification/Encoder.ts"
import { Circuits, everything } from "./circuit.ts"
import { Connections, type Member, type Open } from "./connections.ts"
import { type Headers, Signer } from "./signer.ts"
import { Waiting } from "./waiting.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

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

/** How a credential opens connections and signs requests. */
export interface Credential {
  /** Opens a connection, for as long as the scope lasts. */
  readonly open: Open
  /** Signs for requests; none with a certificate. */
  readonly providerToken: ProviderToken.ProviderToken | undefined
}

/** What a pool does and how much of it. */
export interface Options extends Credential {
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
  /** Is it settled, or given up? */
  isOver: boolean
  /** Takes it back from the connection that it is on. */
  recall: (() => void) | undefined
}

/** Requests go in here. */
export interface Pool {
  /** `settle` is called once, and never before `submit` returns. What comes back gives the request up. */
  readonly submit: (request: Request, settle: (outcome: Outcome) => void) => () => void
  /** Takes another credential: new connections are opened with it, and the old ones are closed when they are done. */
  readonly replace: (credential: Credential) => void
}

// -----------------------------------------------------------------------------
// Limits
// -----------------------------------------------------------------------------

/** How often the pool is looked after while something waits. */
const interval = Duration.millis(250)

/** How often a request is sent that is refused each time, and how often one that asks for a new connection each time. */
const maxAttempts = 20
const maxReconnects = 3

/** After so many refusals of one request the connection on which the last one was is left for another. */
const maxRefusals = 5

const noBody: Reason.Body = { reason: undefined, timestamp: undefined }

const text = new TextDecoder()

const closed = new ApnsError.NotSent({ detail: "the connections were closed" })

/** A provider token that is refused as expired, and can't be renewed yet: the clock is wrong. */
const expiredToken = ApnsError.fromAnswer({ status: 403, reason: "ExpiredProviderToken", timestamp: undefined })

/** What has its own circuit: the topic of a push, each kind of call about a channel. */
const scopeOf = ({ request: { method, path, shared } }: Entry): string =>
  shared.find(([name]) => name === "apns-topic")?.[1] ?? `${method} ${path}`

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
  const monotonic = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  const queueTimeout = Duration.toMillis(options.queueTimeout)

  const waiting = new Waiting<Entry>()
  const nextDouble = () => random.nextDoubleUnsafe()
  const circuits = new Circuits<Entry>(scopeOf, nextDouble)
  let isClosed = false
  let isTicking = false
  let isWoken = false
  /** The time, which is read once for what happens together; negative when it has to be read again. */
  let time = -1

  const now = (): number => time < 0 ? time = monotonic() : time

  const connections = new Connections(options.open, {
    maxConnections: options.maxConnections,
    idleTimeout: Duration.toMillis(options.idleTimeout),
    queueTimeout,
    scope,
    fork,
    now,
    random: nextDouble,
    onChange: () => pump(),
    onFault: (fault) => faulty(everything, fault),
    onExpired: (generation) => void signer.expire(generation)
  })

  const signerOf = (providerToken: Credential["providerToken"]): Signer => {
    const made = new Signer({
      providerToken,
      now: () => clock.currentTimeMillisUnsafe(),
      fork,
      onToken: (isRefused) => {
        if (made !== signer) return
        if (isRefused) faulty(everything, expiredToken)
        pump()
      }
    })
    return made
  }
  let signer = signerOf(options.providerToken)

  // ---------------------------------------------------------------------------
  // Ends
  // ---------------------------------------------------------------------------

  /** To be sent when it is possible again. */
  const putBack = (entries: ReadonlyArray<Entry>): void => {
    for (const entry of entries) if (!entry.isOver) waiting.putBack(entry)
    if (entries.length > 0) wake()
  }

  /** It tries no more for others whether a fault is mended. */
  const release = (entry: Entry): void => {
    if (!circuits.areClosed) putBack(circuits.unanswered(entry))
  }

  const settle = (entry: Entry, outcome: Outcome): void => {
    if (entry.isOver) return
    entry.isOver = true
    release(entry)
    entry.settle(outcome)
  }

  const fail = (entry: Entry, reason: ApnsError.ApnsErrorReason) => settle(entry, Result.fail(ApnsError.make(reason)))

  const failAll = (entries: ReadonlyArray<Entry>, error: ApnsError.ApnsError): void => {
    for (const entry of entries) settle(entry, Result.fail(error))
  }

  const again = (entry: Entry): void => {
    if (entry.isOver) return
    if (isClosed) return fail(entry, closed)
    if (entry.attempts >= maxAttempts) {
      return fail(entry, new ApnsError.Refused({ detail: `it was refused ${entry.attempts} times` }))
    }
    release(entry)
    waiting.putBack(entry)
  }

  // ---------------------------------------------------------------------------
  // Faults of the configuration
  // ---------------------------------------------------------------------------

  const faulty = (scope: string, error: ApnsError.ApnsError, entry?: Entry): void => {
    const { isNew, with: waited } = circuits.failed(scope, error, now(), entry)
    if (isNew) fork(Effect.logError(error.message))
    failAll(waited, error)
    // a topic is refused by a server that took the credential
    if (entry !== undefined && scope !== everything) putBack(circuits.answered(entry))
  }

  // ---------------------------------------------------------------------------
  // Sending
  // ---------------------------------------------------------------------------

  const send = (entry: Entry, member: Member): void => {
    const { body, headers, method, path, shared } = entry.request
    const by = signer
    const { generation } = by
    entry.attempts++
    connections.sends(member, generation)
    const submitted = member.connection.submit(
      { method, path, shared: by.sign(shared), headers, body },
      (answer) => {
        entry.recall = undefined
        if (Result.isSuccess(answer)) answered(entry, member, by, generation, answer.success)
        else unanswered(entry, member, answer.failure)
      }
    )
    entry.recall = () => member.connection.cancel(submitted)
  }

  const unanswered = (entry: Entry, member: Member, error: Http2Error.Http2Error): void => {
    const { _tag } = error.reason
    if (_tag === "Timeout") connections.giveUp(member, error.message)
    if (_tag === "Unknown") connections.unreadable(member, error.message)
    if (_tag === "Refused" && entry.attempts % maxRefusals === 0) {
      connections.leaveAs(member, `it refused a push again, the ${entry.attempts}th time`)
    }
    if (Verdict.isUnprocessed(error)) again(entry)
    else fail(entry, Verdict.failureOf(error))
  }

  const answered = (
    entry: Entry,
    member: Member,
    by: Signer,
    generation: number,
    response: Connection.Response
  ): void => {
    const { status } = response
    const body = status < 300
      ? noBody
      : Reason.parseAnswer(text.decode(response.body), clock.currentTimeMillisUnsafe())
    const verdict = Verdict.ofAnswer(status, body)
    const { fault, renew } = verdict
    const isCurrent = connections.isCurrent(member)
    connections.answered(member, verdict, status, body.reason)
    // what an old credential is refused for is for the new one to try
    if (!isCurrent && (renew !== "Nothing" || fault !== "None")) return again(entry)

    if (fault !== "None") {
      faulty(fault === "All" ? everything : scopeOf(entry), ApnsError.fromAnswer({ status, ...body }), entry)
    } else if (renew === "Nothing" && !verdict.isServerError && !circuits.areClosed) putBack(circuits.answered(entry))
    if (renew === "Token") {
      if (!entry.isRenewed && by.expire(generation)) {
        entry.isRenewed = true
        return again(entry)
      }
      faulty(everything, expiredToken, entry)
    }
    if (renew === "Connection" && entry.attempts < maxReconnects) return again(entry)
    settle(entry, Result.succeed({ response, body, attempts: entry.attempts, duration: now() - entry.since }))
  }

  /** Says whether a request may be sent; if not, it waits for another one or has failed. */
  const admit = (entry: Entry): boolean => {
    const { expiration } = entry.request
    if (expiration !== undefined && Encoder.isExpired(expiration, clock.currentTimeMillisUnsafe())) {
      fail(entry, new ApnsError.Expired({ expiration }))
      return false
    }
    const admission = circuits.admit(entry, now())
    if (admission === "Send") return true
    if (admission !== "Wait") settle(entry, Result.fail(admission))
    return false
  }

  /** Hands requests to connections for as long as there are both. */
  const handOn = (): void => {
    if (isClosed || waiting.size === 0) return
    const fault = circuits.faultOfAll(now())
    if (fault !== undefined) return failAll(waiting.takeAll(), fault)
    if (signer.isReady) {
      let member = connections.roomiest()
      while (member !== undefined && waiting.size > 0) {
        const entry = waiting.take()!
        if (entry.isOver || !admit(entry)) continue
        send(entry, member)
        member = connections.roomiest()
      }
      if (waiting.size > 0 && connections.usable === 0) connections.openOne()
    }
    if (!isTicking && isAnyWaiting()) tick()
  }

  const pump = (): void => {
    isWoken = false
    handOn()
    time = -1
  }

  /** What is submitted in one turn is handed on together. */
  const wake = (): void => {
    if (isWoken) return
    isWoken = true
    queueMicrotask(pump)
  }

  // ---------------------------------------------------------------------------
  // Looking after the pool
  // ---------------------------------------------------------------------------

  const isLate = ({ since }: Entry): boolean => now() - since >= queueTimeout

  const giveUpLate = (): void => {
    for (const entry of [...waiting.takeWhile(isLate), ...circuits.takeIf(isLate)]) {
      fail(
        entry,
        connections.lastFailure === undefined
          ? new ApnsError.Timeout({ stage: "Queue", after: options.queueTimeout, detail: connections.whyWaiting })
          : new ApnsError.NotSent({ detail: connections.lastFailure })
      )
    }
  }

  const isAnyWaiting = () => waiting.size > 0 || circuits.hasWaiting || connections.areQueued

  const tick = (): void => {
    if (isTicking) return
    isTicking = true
    fork(
      Effect.gen(function*() {
        while (isAnyWaiting() || connections.usable > 1) {
          yield* Effect.sleep(interval)
          time = -1
          giveUpLate()
          if (waiting.size > 0 || connections.areQueued) connections.leaveStuck()
          connections.grow(waiting.size > 0 && circuits.faultOfAll(now()) === undefined)
          connections.shrink()
          pump()
        }
      }).pipe(Effect.ensuring(Effect.sync(() => {
        isTicking = false
      })))
    )
  }

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isClosed = true
      failAll([...waiting.takeAll(), ...circuits.closeAll()], ApnsError.make(closed))
      return Effect.andThen(connections.retireAll(options.drainTimeout), Scope.close(scope, Exit.void))
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
        isOver: false,
        recall: undefined
      }
      if (isClosed) queueMicrotask(() => fail(entry, closed))
      else {
        waiting.put(entry)
        wake()
      }
      return () => {
        entry.isOver = true
        entry.recall?.()
        release(entry)
      }
    },
    replace: ({ open, providerToken }) => {
      signer = signerOf(providerToken)
      connections.replace(open)
      putBack(circuits.closeAll())
      wake()
    }
  }
})
