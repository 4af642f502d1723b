/**
 * One HTTP/2 client connection (RFC 9113) over TLS, as a value.
 *
 * It serves many small requests with small answers: one write sends all frames
 * of a tick, and a request costs no timer, fiber or listener. Every request ends
 * exactly once, with a response or with a failure. The `fate` of the failure says
 * whether the peer can have processed the request. The connection never opens
 * more streams than the peer allows, and the peer may change that number.
 *
 * Limits: a connection does not reopen. Bodies are whole byte arrays, in both
 * directions. The caller gets no server push, no priorities and no trailers.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { monotonicMillis } from "../internal/clock.ts"
import * as OptionRules from "../internal/options.ts"
import { dial, hostPort, serverName } from "./dial/dial.ts"
import { tlsFailure } from "./dial/failure.ts"
import { attach, watch } from "./dial/wire.ts"
import * as Http2Error from "./Http2Error.ts"
import {
  type Answer,
  type Ending,
  type Goaway,
  type Request,
  type Response,
  type SubmitOptions,
  type Submitted,
  textsOf
} from "./Message.ts"
import type { Options } from "./Options.ts"
import type { Exchange } from "./session/exchange.ts"
import { Session, type SessionEnding, type SessionOptions } from "./session/session.ts"

export * from "./Message.ts"
export type * from "./Options.ts"

/** A connection. It closes with the scope that it was made in. */
export interface Connection {
  /** The peer, for messages: `https://api.push.apple.com:443`. */
  readonly server: string

  /** Sends a request and waits for its answer. Interruption resets the stream. */
  readonly request: (request: Request) => Effect.Effect<Response, Http2Error.Http2Error>

  /**
   * Sends requests and returns one answer for each, in order. It does not fail.
   * Interruption resets the streams that are still open.
   */
  readonly requestAll: (requests: ReadonlyArray<Request>) => Effect.Effect<ReadonlyArray<Answer>>

  /**
   * Sends a request without a fiber; `request` and `requestAll` use it. It calls
   * `settle` exactly once, and never before `submit` returns. Requests of one
   * tick leave in one write. An exception from `settle` stays uncaught and does
   * not reach other requests. Above `room()` requests wait, in order, for a
   * free stream.
   */
  readonly submit: (request: Request, settle: (answer: Answer) => void, options?: SubmitOptions) => Submitted

  /** Abandons a request and resets its stream. The connection then never calls its `settle`. */
  readonly cancel: (submitted: Submitted) => void

  /**
   * How many more requests could leave now. Free streams bound it, and so does
   * the peer's window, for bodies as large as the recent ones. 0 once the
   * connection is retired or closed.
   */
  readonly room: () => number

  /** How many requests have no answer yet, with those that wait for a stream. */
  readonly pending: () => number

  /** How many requests wait for a stream. */
  readonly queued: () => number

  /**
   * Sets the listener. The connection calls it when `room()` may have grown, and
   * when the connection retires or closes: at most once per chunk of the socket,
   * and never inside `submit`. There is one listener; a second one replaces it.
   */
  readonly onRoom: (listener: () => void) => void

  /** False once the connection is retired or closed and accepts no requests. A GOAWAY retires it too. */
  readonly isOpen: () => boolean

  /**
   * Accepts no more requests, waits for the answers to the requests that were
   * sent, and closes. Requests that wait for a stream end with `NotSent`.
   */
  readonly retire: Effect.Effect<void>

  /** The GOAWAY with which the peer retired the connection, if it sent one. */
  readonly goaway: () => Goaway | undefined

  /** Waits for the end of the connection. */
  readonly closed: Effect.Effect<Ending>

  /** Measures the round-trip time to the peer. */
  readonly ping: Effect.Effect<Duration.Duration, Http2Error.Http2Error>
}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

const millisOf = (
  option: string,
  input: Duration.Input | undefined,
  fallback: number
): Effect.Effect<number, Http2Error.Http2Error> => {
  const duration = OptionRules.readDuration(input ?? fallback, { isPositive: true })
  return Result.isSuccess(duration)
    ? Effect.succeed(Duration.toMillis(duration.success))
    : invalid(option, duration.failure)
}

const countOf = (option: string, input: number | undefined, fallback: number, max: number) => {
  const count = input ?? fallback
  const rule = OptionRules.integer(count, 1, max)
  return rule === undefined ? Effect.succeed(count) : invalid(option, rule)
}

const invalid = (option: string, rule: string) =>
  Effect.fail(Http2Error.make(new Http2Error.OptionInvalid({ option, rule })))

/** Characters that a host name can't have, or that would break a proxy's CONNECT request. */
// oxlint-disable-next-line no-control-regex
const notInHost = /[\0-\x20\x7f/@#?\\[\]]/

const checkHost = (option: string, host: string): Effect.Effect<void, Http2Error.Http2Error> =>
  host === "" || notInHost.test(host)
    ? invalid(option, "must be a host name or an address: write an IPv6 address without brackets")
    : Effect.void

const sessionOptions = Effect.fnUntraced(function*(options: Options) {
  yield* checkHost("host", options.host)
  if (options.proxy !== undefined) yield* checkHost("proxy.host", options.proxy.host)
  if (options.proxy !== undefined && options.refuseAddress !== undefined) {
    return yield* invalid("refuseAddress", "must not be set with a proxy, which resolves the name itself")
  }
  const clock = yield* Clock.Clock
  const port = yield* countOf("port", options.port, 443, 65535)
  const session: SessionOptions = {
    server: serverName(options),
    authority: port === 443 ? hostPort(options.host, port).slice(0, -4) : hostPort(options.host, port),
    now: () => monotonicMillis(clock),
    requestTimeout: yield* millisOf("requestTimeout", options.requestTimeout, 30_000),
    pingTimeout: yield* millisOf("pingTimeout", options.pingTimeout, 10_000),
    idlePing: yield* millisOf("idlePing", options.idlePing, 60_000),
    maxStreams: yield* countOf("maxStreams", options.maxStreams, 1000, 2 ** 31 - 1),
    maxResponseSize: yield* countOf("maxResponseSize", options.maxResponseSize, 1_048_576, 2 ** 31 - 1)
  }
  return session
})

/** The failure of a connection that closed before the peer's first SETTINGS. */
const notReady = (
  server: string,
  { cause, detail, goaway, isTransient, violation }: SessionEnding
): Http2Error.Http2Error => {
  if (cause !== undefined) return tlsFailure(server, cause)
  if (violation && !isTransient) return Http2Error.make(new Http2Error.NotHttp2({ server, detail }))
  const isSilent = goaway === undefined && !violation
  return Http2Error.make(
    new Http2Error.Unreachable({
      server,
      detail: isSilent
        ? `${detail} before it sent anything; check that it accepts this address and this certificate`
        : detail,
      ...(goaway === undefined ? {} : { said: textsOf(goaway) })
    })
  )
}

/** Adds the peer's rejection of our certificate, if the ending carries one. */
const explained = (server: string, ending: SessionEnding): Ending => {
  const rejection = ending.cause === undefined ? undefined : tlsFailure(server, ending.cause)
  return rejection?.reason._tag === "TlsRejected" && rejection.reason.kind === "ClientCertificate"
    ? { ...ending, rejection }
    : ending
}

/** The connection of a session that is ready for requests. */
const connectionOf = (server: string, session: Session, closed: Effect.Effect<Ending>): Connection => ({
  server,
  submit: (request, settle, options) => session.submit(request, settle, options?.timeout),
  cancel: (submitted) => session.cancel(submitted as Exchange),
  request: (request) =>
    Effect.callback((resume) => {
      const exchange = session.submit(request, (answer) => resume(Effect.fromResult(answer)))
      return Effect.sync(() => session.cancel(exchange))
    }),
  requestAll: (requests) => requestAll(session, requests),
  room: () => session.room,
  pending: () => session.pending,
  queued: () => session.queued,
  onRoom: (listener) => {
    session.onRoom = listener
  },
  isOpen: () => session.isOpen,
  retire: Effect.suspend(() => {
    session.retire("the connection accepts no more requests")
    return Effect.asVoid(closed)
  }),
  goaway: () => session.goaway,
  closed,
  ping: Effect.callback((resume) => session.ping((answer) => resume(Effect.fromResult(answer))))
})

const requestAll = (session: Session, requests: ReadonlyArray<Request>): Effect.Effect<ReadonlyArray<Answer>> =>
  Effect.callback((resume) => {
    const answers: Array<Answer> = Array.from({ length: requests.length })
    let left = requests.length
    if (left === 0) return resume(Effect.succeed(answers))
    const exchanges = requests.map((request, i) =>
      session.submit(request, (answer) => {
        answers[i] = answer
        if (--left === 0) resume(Effect.succeed(answers))
      })
    )
    return Effect.sync(() => exchanges.forEach((exchange) => session.cancel(exchange)))
  })

/**
 * Opens a connection. It returns after the peer's first SETTINGS have arrived, so
 * that no request can exceed them.
 *
 * **Example**
 *
 * ```ts
 * const answer = Effect.gen(function*() {
 *   const connection = yield* Connection.make({ host: "api.push.apple.com" })
 *   return yield* connection.request({ method: "POST", path: "/3/device/00fc13", body })
 * }).pipe(Effect.scoped)
 * ```
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Connection, Http2Error.Http2Error, Scope.Scope> {
  const settings = yield* sessionOptions(options)
  const connectTimeout = yield* millisOf("connectTimeout", options.connectTimeout, 10_000)
  const { server } = settings
  const session = new Session(settings)
  const ready = Deferred.makeUnsafe<void, Http2Error.Http2Error>()
  const closed = Deferred.makeUnsafe<Ending>()
  let stage: Http2Error.Stage = "lookup"

  // A scope of its own releases the sockets of a failed attempt at once, not with the caller's scope.
  const scope = yield* Scope.fork(yield* Effect.scope)
  yield* Effect.gen(function*() {
    const socket = yield* dial(options, (next) => stage = next)
    stage = "settings"
    session.onReady = () => Deferred.doneUnsafe(ready, Effect.void)
    attach(session, socket, (ending) => {
      Deferred.doneUnsafe(ready, Effect.fail(notReady(server, ending)))
      Deferred.doneUnsafe(closed, Effect.succeed(explained(server, ending)))
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => session.close("this program closed the connection")))
    yield* Deferred.await(ready)
  }).pipe(
    Effect.timeoutOrElse({
      duration: connectTimeout,
      orElse: () =>
        Effect.fail(Http2Error.make(new Http2Error.ConnectTimeout({ server, stage, millis: connectTimeout })))
    }),
    Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause))),
    Scope.provide(scope)
  )
  yield* Effect.forkIn(watch(session), scope)
  return connectionOf(server, session, Deferred.await(closed))
})
