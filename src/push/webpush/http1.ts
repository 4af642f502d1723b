/**
 * A connection over HTTP/1.1 in the form of one over HTTP/2, for push services that have
 * no HTTP/2. It has at most 6 sockets, and one request on each at a time.
 *
 * Each socket resolves the name again, and dials only addresses that the guard has judged.
 * The package undici is an optional peer, and is loaded when such a service is met.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Undici from "undici"
import { type Connection, Http2Error, type Message } from "../../http2/index.ts"
import { codeOf } from "../../internal/tls.ts"
import type { Guard } from "./subscription/AddressGuard.ts"

/** How many sockets a push service gets. */
export const maxSockets = 6

/** The options of the sockets. */
export interface Options {
  readonly host: string
  readonly port: number
  readonly ca: string | undefined
  readonly guard: Guard
  readonly connectTimeout: Duration.Duration
  readonly requestTimeout: Duration.Duration
  /** The largest body of a response, in bytes. */
  readonly maxResponseSize: number
}

type Module = Pick<typeof Undici, "Pool">

/** Loads undici, which is Effect's HTTP client on Node.js too. */
const load = (server: string): Effect.Effect<Module, Http2Error.Http2Error> =>
  Effect.tryPromise({
    try: () => import("undici"),
    catch: () =>
      Http2Error.make(
        new Http2Error.NotHttp2({
          server,
          detail: "it has no HTTP/2, and HTTP/1.1 needs the package undici: install it"
        })
      )
  })

type LookupCallback = (
  error: Error | null,
  addresses?: string | ReadonlyArray<{ readonly address: string; readonly family: 4 | 6 }>,
  family?: number
) => void

/** The lookup of Node.js's sockets, by the guard. */
const lookupOf =
  ({ guard }: Options, run: (effect: Effect.Effect<void>) => unknown) =>
  (host: string, { all }: { readonly all?: boolean }, callback: LookupCallback): void => {
    run(
      Effect.map(Effect.result(guard.lookup(host)), (looked) => {
        if (Result.isFailure(looked)) {
          return callback(Object.assign(new Error(looked.failure.message), { code: "ADDRESS_REFUSED" }))
        }
        const addresses = looked.success.map((address) => ({
          address,
          family: address.includes(":") ? 6 as const : 4 as const
        }))
        if (all === true) callback(null, addresses)
        else callback(null, addresses[0]!.address, addresses[0]!.family)
      })
    )
  }

/** The code of an answer that was not whole in time. */
const late = "ANSWER_LATE"

/** One request in flight. */
interface Running extends Message.Submitted {
  isSettled: boolean
  /** Whether it has been written to a socket. */
  hasLeft: boolean
  controller: Undici.Dispatcher.DispatchController | undefined
  /** Ends the request if its answer is late. */
  deadline: Fiber.Fiber<void> | undefined
}

type Run = (effect: Effect.Effect<void>) => Fiber.Fiber<void>

type Settle = (answer: Message.Answer) => void

const closedHere = "this program closed the connection"

/** The state of a connection. */
class Http1 {
  readonly server: string
  private readonly pool: Undici.Pool
  private readonly options: Options
  private readonly run: Run
  private readonly ended: (ending: Message.Ending) => void
  private running = 0
  private isRetired = false
  private detail = ""
  private listener: () => void = () => {}

  constructor(
    server: string,
    pool: Undici.Pool,
    options: Options,
    run: Run,
    ended: (ending: Message.Ending) => void
  ) {
    this.server = server
    this.pool = pool
    this.options = options
    this.run = run
    this.ended = ended
  }

  get isOpen(): boolean {
    return !this.isRetired
  }

  get room(): number {
    return this.isRetired ? 0 : Math.max(0, maxSockets - this.running)
  }

  get pending(): number {
    return this.running
  }

  set onRoom(listener: () => void) {
    this.listener = listener
  }

  submit({ body, headers = [], method, path, shared = [] }: Message.Request, settle: Settle): Running {
    const running: Running = { isSettled: false, hasLeft: false, controller: undefined, deadline: undefined }
    const fields: Record<string, string> = {}
    for (const { name, value } of [...shared, ...headers]) fields[name] = value
    this.running++
    this.pool.dispatch({
      method: method as Undici.Dispatcher.HttpMethod,
      path,
      headers: fields,
      body: body ?? null
    }, this.handler(running, settle))
    return running
  }

  private handler(running: Running, settle: Settle): Undici.Dispatcher.DispatchHandler {
    const { maxResponseSize } = this.options
    const parts: Array<Uint8Array> = []
    let size = 0
    let status = 0
    let fields: ReadonlyArray<readonly [string, string]> = []
    const end = (answer: Message.Answer) => {
      // An answer must not come before `submit` returns.
      queueMicrotask(() => this.end(running, settle, answer))
    }
    return {
      onRequestStart: (controller) => {
        running.controller = controller
        running.hasLeft = true
        if (running.isSettled) controller.abort(new Error("the message was cancelled"))
        // One time for the whole answer: a server that sends a byte now and then must not keep a socket.
        running.deadline = this.run(
          Effect.delay(
            Effect.sync(() => controller.abort(Object.assign(new Error("the answer is late"), { code: late }))),
            this.options.requestTimeout
          )
        )
      },
      onResponseStart: (_, statusCode, headers) => {
        status = statusCode
        fields = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)])
      },
      onResponseData: (controller, chunk) => {
        size += chunk.length
        if (size <= maxResponseSize) parts.push(chunk)
        else controller.abort(Object.assign(new Error("the answer is too large"), { code: "ANSWER_TOO_LARGE" }))
      },
      onResponseEnd: () => end(Result.succeed({ status, headers: fields, body: Buffer.concat(parts) })),
      onResponseError: (_, error) => {
        // The pool opens another connection after its pause. This one would fail again at once.
        if (!running.hasLeft && !running.isSettled) this.retire(`no socket opened (${codeOf(error)})`)
        end(Result.fail(this.failureOf(error, running.hasLeft)))
      }
    }
  }

  /** What went wrong, by its code: the text of an error may contain the path. */
  private failureOf(error: unknown, hasLeft: boolean): Http2Error.Http2Error {
    const { server } = this
    const code = codeOf(error) || "no code"
    if (code === late) {
      return Http2Error.make(
        new Http2Error.Timeout({ server, millis: Duration.toMillis(this.options.requestTimeout), sent: true })
      )
    }
    return Http2Error.make(
      hasLeft
        ? new Http2Error.Unknown({ server, detail: `the connection broke (${code})` })
        : new Http2Error.NotSent({ server, detail: `no socket opened (${code})` })
    )
  }

  private end(running: Running, settle: Settle, answer: Message.Answer): void {
    this.running--
    running.deadline?.interruptUnsafe()
    const isWanted = !running.isSettled
    running.isSettled = true
    if (isWanted) settle(answer)
    this.listener()
    this.closeIfDone()
  }

  cancel(running: Running): void {
    running.isSettled = true
    running.controller?.abort(new Error("the message was cancelled"))
  }

  retire(detail: string): void {
    if (this.isRetired) return
    this.isRetired = true
    this.detail = detail
    this.listener()
    this.closeIfDone()
  }

  private closeIfDone(): void {
    if (this.isRetired && this.running === 0) {
      this.ended({ detail: this.detail, goaway: undefined })
    }
  }
}

const connectionOf = (http1: Http1, closed: Effect.Effect<Message.Ending>): Connection.Connection => {
  const request = (given: Message.Request) =>
    Effect.callback<Message.Response, Http2Error.Http2Error>((resume) => {
      const running = http1.submit(given, (answer) => resume(Effect.fromResult(answer)))
      return Effect.sync(() => http1.cancel(running))
    })
  return {
    server: http1.server,
    request,
    requestAll: (requests) =>
      Effect.forEach(requests, (one) => Effect.result(request(one)), { concurrency: maxSockets }),
    submit: (given, settle) => http1.submit(given, settle),
    cancel: (submitted) => http1.cancel(submitted as Running),
    room: () => http1.room,
    pending: () => http1.pending,
    queued: () => 0,
    onRoom: (listener) => {
      http1.onRoom = listener
    },
    isOpen: () => http1.isOpen,
    retire: Effect.suspend(() => {
      http1.retire(closedHere)
      return Effect.asVoid(closed)
    }),
    goaway: () => undefined,
    closed,
    // HTTP/1.1 has no PING: a socket that broke while idle is replaced by undici.
    ping: Effect.succeed(Duration.zero)
  }
}

/** Opens a connection. Its first request opens the first socket. */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Connection.Connection, Http2Error.Http2Error, Scope.Scope> {
  const { ca, connectTimeout, guard, host, port } = options
  const server = `https://${host}:${port}`
  // Node.js looks up no address, so the guard must.
  yield* guard.lookup(host.replace(/^\[(.*)\]$/, "$1"))
  const { Pool } = yield* load(server)
  const run = Effect.runForkWith(yield* Effect.context())
  const pool = yield* Effect.acquireRelease(
    Effect.sync(() =>
      new Pool(server, {
        connections: maxSockets,
        pipelining: 1,
        allowH2: false,
        // Each request has its own deadline.
        headersTimeout: 0,
        bodyTimeout: 0,
        connect: {
          timeout: Duration.toMillis(connectTimeout),
          lookup: lookupOf(options, run) as never,
          ...(ca === undefined ? undefined : { ca })
        }
      })
    ),
    (pool) => Effect.promise(() => pool.destroy())
  )
  const closed = Deferred.makeUnsafe<Message.Ending>()
  const http1 = new Http1(server, pool, options, run, (ending) => Deferred.doneUnsafe(closed, Exit.succeed(ending)))
  yield* Effect.addFinalizer(() => Effect.sync(() => http1.retire(closedHere)))
  return connectionOf(http1, Deferred.await(closed))
})
