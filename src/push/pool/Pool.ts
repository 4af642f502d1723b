/**
 * The requests of one credential to one host of a push service.
 *
 * Requests wait here until a connection has room. The pool sends a request again on
 * another connection if the service certainly did not process it. Every request ends
 * once, with an answer or an error. The pool grows while requests wait and all
 * connections are full, and shrinks when connections are idle: see `connections`.
 * Requests fail at once while the configuration is at fault: see `circuit`, and while
 * the service asks for a pause: see `pauses`. The {@link Provider} defines what an
 * answer means, and the errors.
 *
 * A new credential may replace the old one at any time. Waiting requests use the new
 * one, and so do requests that the service refused because of the old one. Other
 * answers to requests with the old credential count.
 *
 * A request costs no fiber, timer or listener: plain methods do all work up to the
 * answer. Fibers open connections, renew the authorization, and maintain the pool
 * four times a second while requests wait.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Http2Error, Message } from "../../http2/index.ts"
import type { Authorizer } from "./Authorizer.ts"
import { Circuits, everything } from "./circuit.ts"
import { Connections, type Member, type Open } from "./connections.ts"
import { type Paused, Pauses } from "./pauses.ts"
import type { AnswerPolicy, Failure, Headers, Judgement, Provider, Refusal, Request } from "./Provider.ts"
import * as Runtime from "./runtime.ts"
import { Signer } from "./signer.ts"
import { Waiting } from "./waiting.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** An answer of any status. */
export interface Answered<out R> {
  readonly response: Message.Response
  /** Why the service refused the request; `undefined` if it accepted it. */
  readonly refusal: R | undefined
  /** How many times the request was sent. */
  readonly attempts: number
  /** From `submit` to the answer, in milliseconds. */
  readonly duration: number
}

/** How a request ended: with an answer or an error. */
export type Reply<R, E> = Result.Result<Answered<R>, E>

/** How a credential opens connections and signs requests. */
export interface Credential<out E = never> {
  /** Opens a connection, which the scope closes. */
  readonly open: Open
  /** Authorizes requests; `undefined` if the client certificate of the connection does. */
  readonly authorizer: Authorizer<E> | undefined
}

/** The options of a pool. */
export interface Options<out E = never> extends Credential<E> {
  readonly maxConnections: number
  /** How long a request may wait for a connection. */
  readonly queueTimeout: Duration.Duration
  /** Closes surplus connections after this idle time. */
  readonly idleTimeout: Duration.Duration
  /** Whether to close the last connection too after that time. Default: false. */
  readonly closesLast?: boolean | undefined
  /** An idle connection must answer a PING after this time, before its next request. Infinite: never. Default: 5 seconds. */
  readonly doubtAfter?: Duration.Duration | undefined
  /** How long the pool waits for answers when it closes. */
  readonly drainTimeout: Duration.Duration
}

/*
 * The objects that wait for an answer are instances of classes. V8 puts the objects of a literal into the old
 * generation if many of them survive. There they die late, and keep alive what they refer to. With literals twice as
 * much survives a collection, and a push costs up to 1.2 times the CPU.
 */

/** A request that has not ended. */
class Pending<R, E> implements Request {
  readonly method: string
  readonly path: string
  readonly shared: Headers
  readonly headers: ReadonlyArray<Message.Header>
  readonly body: Uint8Array | undefined
  readonly expiresAt: number | undefined
  readonly settle: (reply: Reply<R, E>) => void
  /** When it was submitted, in milliseconds of the monotonic clock. */
  readonly since: number
  attempts = 0
  /** Whether the authorization was already renewed for it. */
  isRenewed = false
  /** Whether it was settled or cancelled. */
  isSettled = false
  /** How it was sent, while it waits for its answer. */
  sent: Sent<E> | undefined = undefined

  constructor(request: Request, settle: (reply: Reply<R, E>) => void, since: number) {
    this.method = request.method
    this.path = request.path
    this.shared = request.shared
    this.headers = request.headers
    this.body = request.body
    this.expiresAt = request.expiresAt
    this.settle = settle
    this.since = since
  }
}

/** A signed request and its connection. */
class Sent<E> implements Message.Request {
  readonly method: string
  readonly path: string
  readonly shared: ReadonlyArray<Message.Header>
  readonly headers: ReadonlyArray<Message.Header>
  readonly body: Uint8Array | undefined
  readonly member: Member
  readonly signer: Signer<E>
  readonly generation: number
  submitted: Message.Submitted | undefined = undefined

  constructor(request: Request, member: Member, signer: Signer<E>) {
    this.method = request.method
    this.path = request.path
    this.shared = signer.sign(request.shared)
    this.headers = request.headers
    this.body = request.body
    this.member = member
    this.signer = signer
    this.generation = signer.generation
  }
}

// -----------------------------------------------------------------------------
// Limits
// -----------------------------------------------------------------------------

/** How often the pool maintains itself while requests wait. */
const maintainInterval = Duration.millis(250)

/** A request that the service never processes is sent at most this often. */
const maxAttempts = 20

/** A request whose answer asks for a new connection is sent at most this often. */
const maxReconnects = 3

/** After this many refusals of one request the pool replaces the connection of the last one. */
const refusalsPerConnection = 5

/** An idle connection must answer a PING after this time, before its next request. */
const doubtAfter = Duration.seconds(5)

/** Whether the request was certainly not processed, and another connection may succeed. A service needs the whole body. */
const isUnprocessed = ({ fate, reason }: Http2Error.Http2Error): boolean =>
  (reason._tag === "Timeout" && reason.isPartial === true) ||
  (fate === "NotProcessed" && reason._tag !== "RequestInvalid")

// -----------------------------------------------------------------------------
// The pool
// -----------------------------------------------------------------------------

/** The requests of one credential to one host. The methods are in the order in which a request passes them. */
export class Pool<R extends Refusal, E extends Failure> {
  private readonly provider: Provider<R, E>
  private readonly options: Options<E>
  private readonly runtime: Runtime.Runtime
  private readonly queueMillis: number
  private readonly waiting = new Waiting<Pending<R, E>>()
  private readonly circuits: Circuits<Pending<R, E>, E>
  private readonly pauses: Pauses<Pending<R, E>, R>
  private readonly connections: Connections<R, E>
  private signer: Signer<E>
  private isClosed = false
  private isTicking = false
  private isWoken = false

  constructor(provider: Provider<R, E>, options: Options<E>, runtime: Runtime.Runtime) {
    this.provider = provider
    this.options = options
    this.runtime = runtime
    this.queueMillis = Duration.toMillis(options.queueTimeout)
    const scopeOf = (pending: Pending<R, E>) => provider.scopeOf(pending)
    this.circuits = new Circuits(scopeOf, () => runtime.random())
    this.pauses = new Pauses(scopeOf, () => runtime.random())
    this.connections = new Connections(
      options.open,
      provider,
      {
        maxConnections: options.maxConnections,
        idleTimeout: Duration.toMillis(options.idleTimeout),
        closesLast: options.closesLast ?? false,
        doubtAfter: Duration.toMillis(options.doubtAfter ?? doubtAfter),
        queueTimeout: this.queueMillis
      },
      {
        changed: () => this.pump(),
        configFault: (fault) => this.configFault(everything, fault),
        expired: (generation) => void this.signer.expire(generation)
      },
      runtime
    )
    this.signer = this.signerOf(options.authorizer)
  }

  private signerOf(authorizer: Authorizer<E> | undefined): Signer<E> {
    const signer: Signer<E> = new Signer({
      authorizer,
      isRepeated: this.provider.isRepeated,
      onReady: (isRefused) => {
        if (signer !== this.signer) return
        if (isRefused) this.configFault(everything, this.provider.failures.unauthorized())
        this.pump()
      },
      onFailed: (error) => {
        if (signer !== this.signer) return
        this.configFault(everything, error)
        this.pump()
      }
    }, this.runtime)
    return signer
  }

  // ---------------------------------------------------------------------------
  // Submitting
  // ---------------------------------------------------------------------------

  /** Calls `settle` once, and never before `submit` returns. Returns a function that cancels the request. */
  submit(request: Request, settle: (reply: Reply<R, E>) => void): () => void {
    const pending = new Pending(request, settle, this.runtime.now())
    if (this.isClosed) queueMicrotask(() => this.fail(pending, this.closedError))
    else {
      this.waiting.put(pending)
      this.wake()
    }
    return () => this.cancelPending(pending)
  }

  /** Sends a request and waits for its answer. Interruption cancels it. */
  exchange(request: Request): Effect.Effect<Answered<R>, E> {
    return Effect.callback((resume) => {
      const cancel = this.submit(request, (reply) => resume(Effect.fromResult(reply)))
      return Effect.sync(cancel)
    })
  }

  private cancelPending(pending: Pending<R, E>): void {
    const { sent } = pending
    pending.isSettled = true
    if (sent?.submitted !== undefined) sent.member.connection.cancel(sent.submitted)
    this.endRoles(pending)
  }

  /** Dispatches the requests of one tick together. */
  private wake(): void {
    if (this.isWoken) return
    this.isWoken = true
    queueMicrotask(() => this.pump())
  }

  private pump(): void {
    this.isWoken = false
    this.dispatch()
    this.runtime.forgetTime()
  }

  // ---------------------------------------------------------------------------
  // Sending
  // ---------------------------------------------------------------------------

  /** Sends the waiting requests, or fails them. */
  private dispatch(): void {
    if (this.isClosed || this.waiting.size === 0) return
    const fault = this.faultOfAll
    if (fault !== undefined) return this.failAll(this.waiting.takeAll(), fault)
    if (this.signer.isReady) this.sendWaiting()
    if (!this.isTicking && this.isAnyWaiting) this.tick()
  }

  /** Why no request is sent now, if there is a reason. */
  private get faultOfAll(): E | undefined {
    const now = this.runtime.now()
    const fault = this.circuits.faultOfAll(now)
    if (fault !== undefined || this.pauses.isEmpty) return fault
    const paused = this.pauses.ofAll(now)
    return paused && this.pausedError(paused)
  }

  private pausedError({ millis, refusal }: Paused<R>): E {
    return this.provider.failures.paused(refusal, Duration.millis(Math.ceil(millis)))
  }

  /** Sends while requests wait and a connection has room. */
  private sendWaiting(): void {
    let member = this.connections.roomiest()
    while (member !== undefined && this.waiting.size > 0) {
      const pending = this.waiting.take()!
      if (pending.isSettled || !this.admit(pending)) continue
      this.send(pending, member)
      member = this.connections.roomiest()
    }
    if (this.waiting.size > 0 && this.connections.usable === 0) this.connections.openOne()
  }

  /** Returns whether to send a request now. Otherwise it has failed, or it waits for a probe or a slow start. */
  private admit(pending: Pending<R, E>): boolean {
    const { expiresAt } = pending
    if (expiresAt !== undefined && expiresAt <= this.runtime.epochMillis()) {
      this.fail(pending, this.provider.failures.expired(expiresAt))
      return false
    }
    if (!this.pauses.isEmpty && !this.admitPaused(pending)) return false
    const admission = this.circuits.admit(pending, this.runtime.now())
    if (admission === "Send") return true
    if (admission !== "Wait") this.fail(pending, admission)
    return false
  }

  private admitPaused(pending: Pending<R, E>): boolean {
    const start = this.pauses.admit(pending, this.runtime.now())
    if (start === "Send") return true
    if (start !== "Wait") this.fail(pending, this.pausedError(start))
    return false
  }

  private send(pending: Pending<R, E>, member: Member): void {
    const sent = new Sent(pending, member, this.signer)
    pending.attempts++
    pending.sent = sent
    this.connections.sends(member, sent.generation)
    sent.submitted = member.connection.submit(sent, (answer) => this.ended(pending, answer))
  }

  // ---------------------------------------------------------------------------
  // The answer
  // ---------------------------------------------------------------------------

  private ended(pending: Pending<R, E>, answer: Message.Answer): void {
    const sent = pending.sent!
    pending.sent = undefined
    if (Result.isSuccess(answer)) this.answered(pending, answer.success, sent)
    else this.unanswered(pending, answer.failure, sent)
  }

  private unanswered(pending: Pending<R, E>, error: Http2Error.Http2Error, { member }: Sent<E>): void {
    const { _tag } = error.reason
    if (_tag === "Timeout") this.connections.retireUseless(member, error.message)
    if (_tag === "Unknown") this.connections.requestUnknown(member, error.message)
    if (_tag === "Refused" && pending.attempts % refusalsPerConnection === 0) {
      this.connections.replaceUseless(member, `it refused a push ${pending.attempts} times`)
    }
    if (isUnprocessed(error)) this.sendAgain(pending)
    else this.fail(pending, this.provider.failures.unanswered(error))
  }

  private answered(pending: Pending<R, E>, response: Message.Response, sent: Sent<E>): void {
    const judgement = this.provider.judge(response, this.runtime.epochMillis)
    const { refusal, policy: { fault, renew } } = judgement
    const isCurrent = this.connections.isCurrent(sent.member)
    this.connections.answered(sent.member, judgement)
    // The new credential may succeed where the old one was refused.
    if (!isCurrent && (renew !== "Nothing" || fault !== "None")) return this.sendAgain(pending)
    this.updateCircuits(pending, judgement)
    if (judgement.pause !== undefined || !this.pauses.isEmpty) this.updatePauses(pending, judgement)
    if (this.renewFor(pending, renew, sent)) return this.sendAgain(pending)
    const duration = this.runtime.now() - pending.since
    this.settle(pending, Result.succeed({ response, refusal, attempts: pending.attempts, duration }))
  }

  private updateCircuits(
    pending: Pending<R, E>,
    { refusal, policy: { fault, isServerError, renew } }: Judgement<R>
  ): void {
    if (refusal !== undefined && fault !== "None") {
      const scope = fault === "All" ? everything : this.provider.scopeOf(pending)
      this.configFault(scope, this.provider.failures.refused(refusal), pending)
    } else if (renew === "Nothing" && !isServerError && !this.circuits.areClosed) {
      this.putBack(this.circuits.answered(pending))
    }
  }

  private updatePauses(pending: Pending<R, E>, { pause, refusal }: Judgement<R>): void {
    const now = this.runtime.now()
    if (refusal !== undefined && pause !== undefined) {
      const ofAll = pause.reach === "All"
      const scope = ofAll ? everything : this.provider.scopeOf(pending)
      const { millis, waited } = this.pauses.begin(scope, pending, refusal, pause.millis, now)
      if (millis === undefined) return
      const { name, scopeOf } = this.provider
      const what = ofAll ? "" : ` for ${scope}`
      this.runtime.fork(Effect.logWarning(
        `${name} takes no pushes${what} for now: none is sent for ${Math.ceil(millis / 1000)} s`
      ))
      const waiting = this.waiting.takeIf((pending) => ofAll || scopeOf(pending) === scope)
      this.failAll([...waited, ...waiting], this.pausedError({ refusal, millis }))
    } else this.putBack(this.pauses.answered(pending, now))
  }

  /** Renews what the answer asks for. Returns whether to send the request again. */
  private renewFor(pending: Pending<R, E>, renew: AnswerPolicy["renew"], { generation, signer }: Sent<E>): boolean {
    if (renew === "Nothing") return false
    if (renew === "Connection") return pending.attempts < maxReconnects
    if (pending.isRenewed || !signer.expire(generation)) {
      this.configFault(everything, this.provider.failures.unauthorized(), pending)
      return false
    }
    return pending.isRenewed = true
  }

  /** Opens the circuit of a scope: its requests fail until the configuration is fixed. */
  private configFault(scope: string, error: E, pending?: Pending<R, E>): void {
    const { isNew, waited } = this.circuits.failed(scope, error, this.runtime.now(), pending)
    if (isNew) this.runtime.fork(Effect.logError(error.message))
    this.failAll(waited, error)
    // A server that refuses a scope has accepted the credential.
    if (pending !== undefined && scope !== everything) this.putBack(this.circuits.answered(pending))
  }

  // ---------------------------------------------------------------------------
  // Ending, or sending again
  // ---------------------------------------------------------------------------

  private sendAgain(pending: Pending<R, E>): void {
    if (pending.isSettled) return
    if (this.isClosed) return this.fail(pending, this.closedError)
    if (pending.attempts >= maxAttempts) {
      return this.fail(pending, this.provider.failures.unprocessed(`it was refused ${pending.attempts} times`))
    }
    this.endRoles(pending)
    this.waiting.putBack(pending)
  }

  private settle(pending: Pending<R, E>, reply: Reply<R, E>): void {
    if (pending.isSettled) return
    pending.isSettled = true
    this.endRoles(pending)
    pending.settle(reply)
  }

  private fail(pending: Pending<R, E>, error: E): void {
    this.settle(pending, Result.fail(error))
  }

  private failAll(requests: ReadonlyArray<Pending<R, E>>, error: E): void {
    for (const pending of requests) this.fail(pending, error)
  }

  private get closedError(): E {
    return this.provider.failures.notSent("the connections were closed")
  }

  /** Ends its role as a probe or in a slow start, if it had one. */
  private endRoles(pending: Pending<R, E>): void {
    if (!this.circuits.areClosed) this.putBack(this.circuits.unanswered(pending))
    if (!this.pauses.isEmpty) this.putBack(this.pauses.unanswered(pending))
  }

  /** Puts requests back at the front, to be sent as soon as possible. */
  private putBack(requests: ReadonlyArray<Pending<R, E>>): void {
    for (const pending of requests) if (!pending.isSettled) this.waiting.putBack(pending)
    if (requests.length > 0) this.wake()
  }

  // ---------------------------------------------------------------------------
  // Maintenance
  // ---------------------------------------------------------------------------

  private get isAnyWaiting(): boolean {
    return this.waiting.size > 0 || this.circuits.hasWaiting || this.pauses.hasWaiting || this.connections.hasQueued
  }

  private tick(): void {
    this.isTicking = true
    this.runtime.fork(
      Effect.gen({ self: this }, function*() {
        while (this.isAnyWaiting || this.connections.usable > 1) {
          yield* Effect.sleep(maintainInterval)
          this.maintain()
        }
      }).pipe(Effect.ensuring(Effect.sync(() => {
        this.isTicking = false
      })))
    )
  }

  private maintain(): void {
    this.runtime.forgetTime()
    this.failLate()
    if (this.waiting.size > 0 || this.connections.hasQueued) this.connections.replaceStuck()
    this.connections.grow(this.waiting.size > 0 && this.faultOfAll === undefined)
    this.connections.shrink()
    this.pump()
  }

  private failLate(): void {
    const now = this.runtime.now()
    const isLate = ({ since }: Pending<R, E>): boolean => now - since >= this.queueMillis
    const late = [...this.waiting.takeWhile(isLate), ...this.circuits.takeIf(isLate)]
    if (late.length > 0) this.failAll(late, this.lateError)
    const slow = this.pauses.takeIf(isLate)
    if (slow.length > 0) this.failAll(slow, this.slowError)
  }

  private get lateError(): E {
    const { failures } = this.provider
    const { lastFailure, whyWaiting } = this.connections
    return lastFailure === undefined
      ? failures.timedOut(this.options.queueTimeout, whyWaiting)
      : failures.notSent(lastFailure)
  }

  private get slowError(): E {
    const { failures, name } = this.provider
    return failures.timedOut(this.options.queueTimeout, `${name} asked for a pause, and pushes start slowly after it`)
  }

  // ---------------------------------------------------------------------------
  // A new credential, and closing
  // ---------------------------------------------------------------------------

  /** Replaces the credential. New connections use the new one; the old ones close when their requests have ended. */
  replace({ authorizer, open }: Credential<E>): void {
    this.signer = this.signerOf(authorizer)
    this.connections.replace(open)
    this.putBack(this.circuits.closeAll())
    this.wake()
  }

  /** Fails the waiting requests, and waits for the answers to the sent ones. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.isClosed = true
      const waiting = [...this.waiting.takeAll(), ...this.circuits.closeAll(), ...this.pauses.takeIf(() => true)]
      this.failAll(waiting, this.closedError)
      return Effect.andThen(this.connections.retireAll(this.options.drainTimeout), this.runtime.close)
    })
  }
}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** Makes a pool. Its first request opens its first connection. When the scope closes, the pool waits for sent requests. */
export const make = <R extends Refusal, E extends Failure>(
  provider: Provider<R, E>,
  options: Options<E>
): Effect.Effect<Pool<R, E>, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(Runtime.make, (runtime) => new Pool(provider, options, runtime)),
    (pool) => pool.close
  )
