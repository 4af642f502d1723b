/**
 * One HTTP/2 client connection (RFC 9113) over TLS, as a value.
 *
 * It is made for many small requests with small answers: all frames of a tick
 * leave in one write, and a request costs no timer, fiber or listener. Every
 * request ends exactly once, with a response or with a failure whose `fate`
 * says whether the peer can have processed it; no more streams are open than
 * the peer allows, whenever it changes its mind.
 *
 * Limits: a connection is not reopened; bodies are whole byte arrays, in both
 * directions; no server push, no priorities, no trailers are handed out.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as OptionRules from "../internal/options.ts"
import { dial, hostPort, serverName } from "./dial/dial.ts"
import { tlsFailure } from "./dial/failure.ts"
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
import { attach, watch } from "./session/wire.ts"

export * from "./Message.ts"
export type * from "./Options.ts"

/** A connection that is open, or was. It closes with the scope it was made in. */
export interface Connection {
  /** The peer, for messages: `https://api.push.apple.com:443`. */
  readonly server: string

  /** Sends a request and waits for its answer. Interruption resets the stream. */
  readonly request: (request: Request) => Effect.Effect<Response, Http2Error.Http2Error>

  /**
   * Sends requests and gives one answer for each, in order. It does not fail.
   * Interruption resets the streams that are still open.
   */
  readonly requestAll: (requests: ReadonlyArray<Request>) => Effect.Effect<ReadonlyArray<Answer>>

  /**
   * The way below both, without a fiber: `settle` is called exactly once, never
   * before `submit` returns. What is submitted in one tick leaves in one write.
   * An exception of `settle` is uncaught; it does not reach the others.
   * Above `room()` a request waits, in order, until a stream is free.
   */
  readonly submit: (request: Request, settle: (answer: Answer) => void, options?: SubmitOptions) => Submitted

  /** Gives a request up: resets its stream. Its `settle` is never called after this. */
  readonly cancel: (submitted: Submitted) => void

  /**
   * How many requests could leave now: as many as there are free streams, and as
   * the peer's window carries bodies as large as the recent ones. 0 once it is
   * retired or ended.
   */
  readonly room: () => number

  /** How many requests have no answer yet, those that wait for a stream included. */
  readonly pending: () => number

  /** How many of them wait for a stream. */
  readonly queued: () => number

  /**
   * Names the function to be called when `room()` may have grown, and when the
   * connection is retired or ends. It is called at most once for what arrives
   * together, and never from inside `submit`. There is one: a second one takes
   * the place of the first.
   */
  readonly onRoom: (listener: () => void) => void

  /** False once it is retired or ended: no request is taken any more. A GOAWAY retires it too. */
  readonly isOpen: () => boolean

  /**
   * Takes no more requests, waits for the answers to those that have left, and
   * closes. Requests that wait for a stream end with `NotSent`.
   */
  readonly retire: Effect.Effect<void>

  /** What the peer said when it retired the connection. */
  readonly goaway: () => Goaway | undefined

  /** Waits for the end of the connection. */
  readonly closed: Effect.Effect<Ending>

  /** The time to the peer and back. */
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

/** What would end up in the lines of a proxy's CONNECT, or where a name can't be. */
// oxlint-disable-next-line no-control-regex
const notInHost = /[\0-\x20\x7f/@#?\\[\]]/

const checkHost = (option: string, host: string): Effect.Effect<void, Http2Error.Http2Error> =>
  host === "" || notInHost.test(host)
    ? invalid(option, "must be a host name or an address: write an IPv6 address without brackets")
    : Effect.void

const sessionOptions = Effect.fnUntraced(function*(options: Options) {
  yield* checkHost("host", options.host)
  if (options.proxy !== undefined) yield* checkHost("proxy.host", options.proxy.host)
  const clock = yield* Clock.Clock
  const port = yield* countOf("port", options.port, 443, 65535)
  const session: SessionOptions = {
    server: serverName(options),
    authority: port === 443 ? hostPort(options.host, port).slice(0, -4) : hostPort(options.host, port),
    now: () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6,
    requestTimeout: yield* millisOf("requestTimeout", options.requestTimeout, 30_000),
    pingTimeout: yield* millisOf("pingTimeout", options.pingTimeout, 10_000),
    idlePing: yield* millisOf("idlePing", options.idlePing, 60_000),
    maxStreams: yield* countOf("maxStreams", options.maxStreams, 1000, 2 ** 31 - 1),
    maxResponseSize: yield* countOf("maxResponseSize", options.maxResponseSize, 1_048_576, 2 ** 31 - 1)
  }
  return session
})

/** What is wrong with a peer whose connection ended before its first SETTINGS. */
const notReady = (
  server: string,
  { cause, detail, goaway, isPassing, violation }: SessionEnding
): Http2Error.Http2Error => {
  if (cause !== undefined) return tlsFailure(server, cause)
  if (violation && !isPassing) return Http2Error.make(new Http2Error.NotHttp2({ server, detail }))
  const isSilent = goaway === undefined && !violation
  return Http2Error.make(
    new Http2Error.Unreachable({
      server,
      detail: isSilent ? `${detail} before it said anything; it may refuse our address or certificate` : detail,
      ...(goaway === undefined ? {} : { said: textsOf(goaway) })
    })
  )
}

/** With what the peer's TLS says against our certificate, if it does. */
const explained = (server: string, ending: SessionEnding): Ending => {
  const rejection = ending.cause === undefined ? undefined : tlsFailure(server, ending.cause)
  return rejection?.reason._tag === "TlsRejected" && rejection.reason.kind === "ClientCertificate"
    ? { ...ending, rejection }
    : ending
}

/**
 * Opens a connection: it is there once the peer's first SETTINGS have come, so
 * that no request is ever sent in excess of them.
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

  // A scope of its own: what was opened in vain does not wait for the caller's.
  const scope = yield* Scope.fork(yield* Effect.scope)
  yield* Effect.gen(function*() {
    const socket = yield* dial(options, (next) => stage = next)
    stage = "settings"
    session.onReady = () => Deferred.doneUnsafe(ready, Effect.void)
    attach(session, socket, (ending) => {
      Deferred.doneUnsafe(ready, Effect.fail(notReady(server, ending)))
      Deferred.doneUnsafe(closed, Effect.succeed(explained(server, ending)))
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => session.close("the connection was closed on this side")))
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

  const submit: Connection["submit"] = (request, settle, options) => session.submit(request, settle, options?.timeout)
  const connection: Connection = {
    server,
    submit,
    cancel: (submitted) => session.cancel(submitted as Exchange),
    request: (request) =>
      Effect.callback((resume) => {
        const exchange = session.submit(request, (answer) => resume(Effect.fromResult(answer)))
        return Effect.sync(() => session.cancel(exchange))
      }),
    requestAll: (requests) =>
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
      }),
    room: () => session.room,
    pending: () => session.pending,
    queued: () => session.queued,
    onRoom: (listener) => {
      session.onRoom = listener
    },
    isOpen: () => session.isOpen,
    retire: Effect.suspend(() => {
      session.retire("the connection takes no more requests")
      return Effect.asVoid(Deferred.await(closed))
    }),
    goaway: () => session.goaway,
    closed: Deferred.await(closed),
    ping: Effect.callback((resume) => session.ping((answer) => resume(Effect.fromResult(answer))))
  }
  return connection
})
