/**
 * The requests of one credential to one host of a push service.
 *
 * Requests wait here until a connection has room for them. What certainly was
 * not processed is sent again on another connection; every request ends once,
 * with an answer or an error. The pool grows while requests wait and all
 * connections are full, and shrinks when they are idle: see `connections`.
 * Where the configuration is at fault requests fail at once: see `circuit`.
 * What an answer means, and which errors there are, the {@link Provider} says.
 *
 * Another credential may take the place of the old one at any time. Requests
 * that wait go out with the new one, and so does what the old one was refused
 * for; the other answers to what was sent with the old one count.
 *
 * Everything up to the answer happens in plain methods, without a fiber, timer
 * or listener for a request; fibers open connections, renew what requests are
 * signed with, and look after the pool four times a second while something waits.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Http2Error, Message } from "../../http2/index.ts"
import type { Authorizer } from "./Authorizer.ts"
import { Circuits, everything } from "./circuit.ts"
import { Connections, type Member, type Open } from "./connections.ts"
import type { Failure, Judgement, Provider, Refusal, Request, Verdict } from "./Provider.ts"
import * as Runtime from "./runtime.ts"
import { Signer } from "./signer.ts"
import { Waiting } from "./waiting.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** An answer, whatever its status. */
export interface Answered<out R> {
  readonly response: Message.Response
  /** Why the service refused the request; `undefined` where it took it. */
  readonly refusal: R | undefined
  /** How many times the request was sent. */
  readonly attempts: number
  /** From `submit` to the answer, in milliseconds. */
  readonly duration: number
}

/** How a request ended. */
export type Outcome<R, E> = Result.Result<Answered<R>, E>

/** How a credential opens connections and signs requests. */
export interface Credential {
  /** Opens a connection, for as long as the scope lasts. */
  readonly open: Open
  /** Signs requests; none where the connection itself says who sends. */
  readonly authorizer: Authorizer | undefined
}

/** How much a pool does. */
export interface Options extends Credential {
  readonly maxConnections: number
  /** How long a request may wait for a connection. */
  readonly queueTimeout: Duration.Duration
  /** After how long without a request a connection that others can do the work of is closed. */
  readonly idleTimeout: Duration.Duration
  /** How long answers are waited for at the end. */
  readonly drainTimeout: Duration.Duration
}

interface Entry<R, E> {
  readonly request: Request
  readonly settle: (outcome: Outcome<R, E>) => void
  /** On the monotonic clock, in milliseconds. */
  readonly since: number
  attempts: number
  /** Was it sent with an authorization that was renewed for it? */
  isRenewed: boolean
  /** Is it settled, or given up? */
  isOver: boolean
  /** Where it is while it waits for its answer. */
  sent: Sent | undefined
}

/** On what, and signed by whom, a request left. */
interface Sent {
  readonly member: Member
  readonly submitted: Message.Submitted
  readonly signer: Signer
  readonly generation: number
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

/** Is it certain that the request was not processed, and may be on another connection? A service needs the whole of a body. */
const isUnprocessed = ({ fate, reason }: Http2Error.Http2Error): boolean =>
  (reason._tag === "Timeout" && reason.isPartial === true) ||
  (fate === "NotProcessed" && reason._tag !== "RequestInvalid")

// -----------------------------------------------------------------------------
// The pool
// -----------------------------------------------------------------------------

/** The requests of one credential to one host. Its methods stand in the order in which a request meets them. */
export class Pool<R extends Refusal, E extends Failure> {
  private readonly provider: Provider<R, E>
  private readonly options: Options
  private readonly runtime: Runtime.Runtime
  private readonly queueMillis: number
  private readonly waiting = new Waiting<Entry<R, E>>()
  private readonly circuits: Circuits<Entry<R, E>, E>
  private readonly connections: Connections<R, E>
  private signer: Signer
  private isClosed = false
  private isTicking = false
  private isWoken = false

  constructor(provider: Provider<R, E>, options: Options, runtime: Runtime.Runtime) {
    this.provider = provider
    this.options = options
    this.runtime = runtime
    this.queueMillis = Duration.toMillis(options.queueTimeout)
    this.circuits = new Circuits(({ request }) => provider.scopeOf(request), () => runtime.random())
    this.connections = new Connections(
      options.open,
      provider,
      {
        maxConnections: options.maxConnections,
        idleTimeout: Duration.toMillis(options.idleTimeout),
        queueTimeout: this.queueMillis
      },
      {
        changed: () => this.pump(),
        faulty: (fault) => this.faulty(everything, fault),
        expired: (generation) => void this.signer.expire(generation)
      },
      runtime
    )
    this.signer = this.signerOf(options.authorizer)
  }

  private signerOf(authorizer: Authorizer | undefined): Signer {
    const signer: Signer = new Signer({
      authorizer,
      isRepeated: this.provider.isRepeated,
      onReady: (isRefused) => {
        if (signer !== this.signer) return
        if (isRefused) this.faulty(everything, this.provider.failures.unauthorized())
        this.pump()
      }
    }, this.runtime)
    return signer
  }

  // ---------------------------------------------------------------------------
  // In
  // ---------------------------------------------------------------------------

  /** `settle` is called once, and never before `submit` returns. What comes back gives the request up. */
  submit(request: Request, settle: (outcome: Outcome<R, E>) => void): () => void {
    const since = this.runtime.now()
    const entry: Entry<R, E> = {
      request,
      settle,
      since,
      attempts: 0,
      isRenewed: false,
      isOver: false,
      sent: undefined
    }
    if (this.isClosed) queueMicrotask(() => this.fail(entry, this.closed))
    else {
      this.waiting.put(entry)
      this.wake()
    }
    return () => this.giveUp(entry)
  }

  private giveUp(entry: Entry<R, E>): void {
    const { sent } = entry
    entry.isOver = true
    if (sent !== undefined) sent.member.connection.cancel(sent.submitted)
    this.release(entry)
  }

  /** What is submitted in one turn is handed on together. */
  private wake(): void {
    if (this.isWoken) return
    this.isWoken = true
    queueMicrotask(() => this.pump())
  }

  private pump(): void {
    this.isWoken = false
    this.handOn()
    this.runtime.goOn()
  }

  // ---------------------------------------------------------------------------
  // Out
  // ---------------------------------------------------------------------------

  /** Hands on what waits, or fails it. */
  private handOn(): void {
    if (this.isClosed || this.waiting.size === 0) return
    const fault = this.circuits.faultOfAll(this.runtime.now())
    if (fault !== undefined) return this.failAll(this.waiting.takeAll(), fault)
    if (this.signer.isReady) this.sendWaiting()
    if (!this.isTicking && this.isAnyWaiting) this.tick()
  }

  /** Sends for as long as something waits and there is room. */
  private sendWaiting(): void {
    let member = this.connections.roomiest()
    while (member !== undefined && this.waiting.size > 0) {
      const entry = this.waiting.take()!
      if (entry.isOver || !this.admit(entry)) continue
      this.send(entry, member)
      member = this.connections.roomiest()
    }
    if (this.waiting.size > 0 && this.connections.usable === 0) this.connections.openOne()
  }

  /** Says whether a request may be sent; if not, it waits for another one or has failed. */
  private admit(entry: Entry<R, E>): boolean {
    const { expiresAt } = entry.request
    if (expiresAt !== undefined && expiresAt <= this.runtime.epochMillis()) {
      this.fail(entry, this.provider.failures.expired(expiresAt))
      return false
    }
    const admission = this.circuits.admit(entry, this.runtime.now())
    if (admission === "Send") return true
    if (admission !== "Wait") this.fail(entry, admission)
    return false
  }

  private send(entry: Entry<R, E>, member: Member): void {
    const { body, headers, method, path, shared } = entry.request
    const { signer } = this
    const { generation } = signer
    entry.attempts++
    this.connections.sends(member, generation)
    const submitted = member.connection.submit(
      { method, path, shared: signer.sign(shared), headers, body },
      (answer) => this.ended(entry, answer)
    )
    entry.sent = { member, submitted, signer, generation }
  }

  // ---------------------------------------------------------------------------
  // Back
  // ---------------------------------------------------------------------------

  private ended(entry: Entry<R, E>, answer: Message.Answer): void {
    const sent = entry.sent!
    entry.sent = undefined
    if (Result.isSuccess(answer)) this.answered(entry, answer.success, sent)
    else this.unanswered(entry, answer.failure, sent)
  }

  private unanswered(entry: Entry<R, E>, error: Http2Error.Http2Error, { member }: Sent): void {
    const { _tag } = error.reason
    if (_tag === "Timeout") this.connections.giveUp(member, error.message)
    if (_tag === "Unknown") this.connections.unreadable(member, error.message)
    if (_tag === "Refused" && entry.attempts % maxRefusals === 0) {
      this.connections.leaveAs(member, `it refused a push again, the ${entry.attempts}th time`)
    }
    if (isUnprocessed(error)) this.again(entry)
    else this.fail(entry, this.provider.failures.unanswered(error))
  }

  private answered(entry: Entry<R, E>, response: Message.Response, sent: Sent): void {
    const judgement = this.provider.judge(response, this.runtime.epochMillis)
    const { refusal, verdict: { fault, renew } } = judgement
    const isCurrent = this.connections.isCurrent(sent.member)
    this.connections.answered(sent.member, judgement)
    // what an old credential is refused for is for the new one to try
    if (!isCurrent && (renew !== "Nothing" || fault !== "None")) return this.again(entry)
    this.tellCircuits(entry, judgement)
    if (this.isRenewed(entry, renew, sent)) return this.again(entry)
    const duration = this.runtime.now() - entry.since
    this.settle(entry, Result.succeed({ response, refusal, attempts: entry.attempts, duration }))
  }

  private tellCircuits(entry: Entry<R, E>, { refusal, verdict: { fault, isServerError, renew } }: Judgement<R>): void {
    if (refusal !== undefined && fault !== "None") {
      const scope = fault === "All" ? everything : this.provider.scopeOf(entry.request)
      this.faulty(scope, this.provider.failures.refused(refusal), entry)
    } else if (renew === "Nothing" && !isServerError && !this.circuits.areClosed) {
      this.putBack(this.circuits.answered(entry))
    }
  }

  /** Is what the answer asks for to be had, so that the request goes out again? */
  private isRenewed(entry: Entry<R, E>, renew: Verdict["renew"], { generation, signer }: Sent): boolean {
    if (renew === "Nothing") return false
    if (renew === "Connection") return entry.attempts < maxReconnects
    if (entry.isRenewed || !signer.expire(generation)) {
      this.faulty(everything, this.provider.failures.unauthorized(), entry)
      return false
    }
    return entry.isRenewed = true
  }

  /** A fault of the configuration: requests of this scope fail until it is mended. */
  private faulty(scope: string, error: E, entry?: Entry<R, E>): void {
    const { isNew, with: waited } = this.circuits.failed(scope, error, this.runtime.now(), entry)
    if (isNew) this.runtime.fork(Effect.logError(error.message))
    this.failAll(waited, error)
    // a scope is refused by a server that took the credential
    if (entry !== undefined && scope !== everything) this.putBack(this.circuits.answered(entry))
  }

  // ---------------------------------------------------------------------------
  // The end, or once more
  // ---------------------------------------------------------------------------

  private again(entry: Entry<R, E>): void {
    if (entry.isOver) return
    if (this.isClosed) return this.fail(entry, this.closed)
    if (entry.attempts >= maxAttempts) {
      return this.fail(entry, this.provider.failures.unprocessed(`it was refused ${entry.attempts} times`))
    }
    this.release(entry)
    this.waiting.putBack(entry)
  }

  private settle(entry: Entry<R, E>, outcome: Outcome<R, E>): void {
    if (entry.isOver) return
    entry.isOver = true
    this.release(entry)
    entry.settle(outcome)
  }

  private fail(entry: Entry<R, E>, error: E): void {
    this.settle(entry, Result.fail(error))
  }

  private failAll(entries: ReadonlyArray<Entry<R, E>>, error: E): void {
    for (const entry of entries) this.fail(entry, error)
  }

  private get closed(): E {
    return this.provider.failures.notSent("the connections were closed")
  }

  /** It tries no more for others whether a fault is mended. */
  private release(entry: Entry<R, E>): void {
    if (!this.circuits.areClosed) this.putBack(this.circuits.unanswered(entry))
  }

  /** To be sent when it is possible again. */
  private putBack(entries: ReadonlyArray<Entry<R, E>>): void {
    for (const entry of entries) if (!entry.isOver) this.waiting.putBack(entry)
    if (entries.length > 0) this.wake()
  }

  // ---------------------------------------------------------------------------
  // Looking after the pool
  // ---------------------------------------------------------------------------

  private get isAnyWaiting(): boolean {
    return this.waiting.size > 0 || this.circuits.hasWaiting || this.connections.areQueued
  }

  private tick(): void {
    this.isTicking = true
    this.runtime.fork(
      Effect.gen({ self: this }, function*() {
        while (this.isAnyWaiting || this.connections.usable > 1) {
          yield* Effect.sleep(interval)
          this.lookAfter()
        }
      }).pipe(Effect.ensuring(Effect.sync(() => {
        this.isTicking = false
      })))
    )
  }

  private lookAfter(): void {
    this.runtime.goOn()
    this.giveUpLate()
    if (this.waiting.size > 0 || this.connections.areQueued) this.connections.leaveStuck()
    this.connections.grow(this.waiting.size > 0 && this.circuits.faultOfAll(this.runtime.now()) === undefined)
    this.connections.shrink()
    this.pump()
  }

  private giveUpLate(): void {
    const now = this.runtime.now()
    const isLate = ({ since }: Entry<R, E>): boolean => now - since >= this.queueMillis
    for (const entry of [...this.waiting.takeWhile(isLate), ...this.circuits.takeIf(isLate)]) {
      this.fail(entry, this.late)
    }
  }

  private get late(): E {
    const { failures } = this.provider
    const { lastFailure, whyWaiting } = this.connections
    return lastFailure === undefined
      ? failures.timedOut(this.options.queueTimeout, whyWaiting)
      : failures.notSent(lastFailure)
  }

  // ---------------------------------------------------------------------------
  // Another credential, and the end
  // ---------------------------------------------------------------------------

  /** Takes another credential: new connections are opened with it, and the old ones are closed when they are done. */
  replace({ authorizer, open }: Credential): void {
    this.signer = this.signerOf(authorizer)
    this.connections.replace(open)
    this.putBack(this.circuits.closeAll())
    this.wake()
  }

  /** Fails what waits, and waits for the answers to what was sent. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.isClosed = true
      this.failAll([...this.waiting.takeAll(), ...this.circuits.closeAll()], this.closed)
      return Effect.andThen(this.connections.retireAll(this.options.drainTimeout), this.runtime.close)
    })
  }
}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** Makes a pool. It opens its first connection for its first request. At the end of the scope it finishes what was sent. */
export const make = <R extends Refusal, E extends Failure>(
  provider: Provider<R, E>,
  options: Options
): Effect.Effect<Pool<R, E>, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(Runtime.make, (runtime) => new Pool(provider, options, runtime)),
    (pool) => pool.close
  )
