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
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { dial, hostPort, serverName } from "./dial/dial.ts"
import { tlsFailure } from "./dial/failure.ts"
import * as Http2Error from "./Http2Error.ts"
import type { Stream } from "./session/exchange.ts"
import { textsOf } from "./session/goaway.ts"
import { Session, type SessionEnding, type SessionOptions } from "./session/session.ts"
import { attach, watch } from "./session/wire.ts"

/** A header of a request. */
export interface Header {
  /** In lower case. */
  readonly name: string
  readonly value: string
  /**
   * May it be remembered by the peer, so that it costs one byte the next time?
   * `true` for values that come again and again; `false` for those that differ
   * in each request; `"never"` for secrets that no one on the way may remember
   * either. Default: false.
   */
  readonly index?: boolean | "never" | undefined
}

/** A request with its whole body. `:scheme` and `:authority` are the connection's. */
export interface Request {
  readonly method: string
  readonly path: string
  /**
   * Headers that many requests have in common. They are encoded once per
   * array, by identity: make the array once and pass the same one each time.
   * It must not be changed afterwards.
   */
  readonly shared?: ReadonlyArray<Header> | undefined
  /** Headers of this request. */
  readonly headers?: ReadonlyArray<Header> | undefined
  readonly body?: Uint8Array | undefined
}

/** The whole answer to a request. */
export interface Response {
  readonly status: number
  /** In the order in which they came, names in lower case, without `:status`. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: Uint8Array
}

/** How a request ended. */
export type Answer = Result.Result<Response, Http2Error.Http2Error>

/** A request under way, as its handle for `cancel`. */
export interface Submitted {
  /** True once it was answered. */
  readonly isSettled: boolean
}

/** What the peer said when it took no more requests, in one GOAWAY or in several. RFC 9113, section 6.8. */
export interface Goaway {
  /** Streams above this one were not processed. */
  readonly lastStreamId: number
  /** The last one that tells of an error; 0 for a peer that just stops. */
  readonly code: number
  /**
   * The last debug data that are not empty, as text: for Apple a JSON object with a `reason`. It is what the peer sent,
   * with whatever characters: not to be shown as it is.
   */
  readonly debug: string
  /** Other debug data that came before, if any did. */
  readonly earlier?: ReadonlyArray<string>
}

/** Why a connection ended. */
export interface Ending {
  readonly detail: string
  readonly goaway: Goaway | undefined
  readonly cause?: unknown
  /** What the peer has against our certificate, where it said so as its last word: TLS 1.3 tells it that late. */
  readonly rejection?: Http2Error.Http2Error
}

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

/** Options of one request. */
export interface SubmitOptions {
  /** How long the answer may take, in milliseconds; more than 0. Default: the connection's `requestTimeout`. */
  readonly timeout?: number | undefined
}

/** How to trust a server over TLS, and how to be trusted by it. */
export interface TlsOptions {
  /** PEM of the authorities to trust. Default: those that Node.js trusts. */
  readonly ca?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined
  /** PEM of our certificate, for servers that ask for one. */
  readonly cert?: string | Uint8Array | undefined
  /** PEM of our private key. */
  readonly key?: Redacted.Redacted<string | Uint8Array> | undefined
  /** Certificate and private key in one PKCS #12 file, instead of `cert` and `key`. */
  readonly pfx?: Redacted.Redacted<Uint8Array> | undefined
  /** Of `key` or `pfx`. */
  readonly passphrase?: Redacted.Redacted<string> | undefined
  /** The name the server's certificate has to be for. Default: the host. */
  readonly servername?: string | undefined
  /** Default: `"TLSv1.2"`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined
  /** Must the server choose `h2` by ALPN? APNs does not always. Default: true. */
  readonly requireAlpn?: boolean | undefined
}

/** An HTTP proxy that is asked to CONNECT. */
export interface ProxyOptions {
  readonly host: string
  readonly port: number
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted<string> | undefined
}

/** Where a server is and how long to wait for it. */
export interface Options {
  readonly host: string
  /** Default: 443. */
  readonly port?: number | undefined
  readonly tls?: TlsOptions | undefined
  readonly proxy?: ProxyOptions | undefined
  /**
   * Finds the addresses of a host; one of them is taken at random. Default: the
   * name server, asked anew for each connection.
   */
  readonly lookup?: ((host: string) => Effect.Effect<ReadonlyArray<string>, Http2Error.Http2Error>) | undefined
  /** How long opening may take: name, TCP, proxy, TLS and first SETTINGS together. Default: 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long an answer may take from `submit` on. Default: 30 seconds. */
  readonly requestTimeout?: Duration.Input | undefined
  /**
   * How long a PING may go unanswered before the connection is given up. While
   * requests wait for answers, one is sent after half of this without a word
   * from the peer; it waits behind the bodies that are being written, so allow
   * for large ones on a slow line. Default: 10 seconds.
   */
  readonly pingTimeout?: Duration.Input | undefined
  /** A PING is sent after so long without a word from the peer, when nothing waits for an answer. Default: 1 minute. */
  readonly idlePing?: Duration.Input | undefined
  /** The most streams to have open, whatever the peer allows. Default: 1000. */
  readonly maxStreams?: number | undefined
  /** The longest body of an answer, in bytes; a longer one resets its stream. Default: 1 MiB. */
  readonly maxResponseSize?: number | undefined
}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

const millisOf = (
  option: string,
  input: Duration.Input | undefined,
  fallback: number
): Effect.Effect<number, Http2Error.Http2Error> => {
  const duration = Duration.fromInput(input ?? fallback)
  return Option.isSome(duration) && Duration.toMillis(duration.value) > 0
    ? Effect.succeed(Duration.toMillis(duration.value))
    : invalid(option, "it has to be longer than nothing")
}

const countOf = (option: string, input: number | undefined, fallback: number, max: number) => {
  const count = input ?? fallback
  return Number.isInteger(count) && count >= 1 && count <= max
    ? Effect.succeed(count)
    : invalid(option, `it has to be a whole number from 1 to ${max}`)
}

const invalid = (option: string, rule: string) =>
  Effect.fail(Http2Error.make(new Http2Error.OptionInvalid({ option, rule })))

/** What would end up in the lines of a proxy's CONNECT, or where a name can't be. */
// oxlint-disable-next-line no-control-regex
const notInHost = /[\0-\x20\x7f/@#?\\[\]]/

const checkHost = (option: string, host: string): Effect.Effect<void, Http2Error.Http2Error> =>
  host === "" || notInHost.test(host)
    ? invalid(option, "it has to be a name or an address, an IPv6 one without brackets")
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
    cancel: (submitted) => session.cancel(submitted as Stream),
    request: (request) =>
      Effect.callback((resume) => {
        const stream = session.submit(request, (answer) => resume(Effect.fromResult(answer)))
        return Effect.sync(() => session.cancel(stream))
      }),
    requestAll: (requests) =>
      Effect.callback((resume) => {
        const answers: Array<Answer> = Array.from({ length: requests.length })
        let left = requests.length
        if (left === 0) return resume(Effect.succeed(answers))
        const streams = requests.map((request, i) =>
          session.submit(request, (answer) => {
            answers[i] = answer
            if (--left === 0) resume(Effect.succeed(answers))
          })
        )
        return Effect.sync(() => streams.forEach((stream) => session.cancel(stream)))
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
