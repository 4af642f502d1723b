/**
 * One pipelined connection to a beanstalkd, as a value.
 *
 * Many batches of commands may be under way at once; every command gets
 * exactly one answer, whatever happens to the connection. What all drivers
 * share is here (settling, the reply deadline, the end of a connection); what
 * moves the bytes is a {@link Transport}: `Native.ts` or `Fivebeans.ts`.
 *
 * Limits: a connection is not reopened (see `Reconnect.ts`), and a `reserve`
 * that waits holds up everything that is submitted after it.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as BrokerError from "../../BrokerError.ts"
import * as DurationInput from "../../internal/durationInput.ts"
import { callOr, messageOfThrown } from "../../internal/thrown.ts"
import type { Command } from "./command.ts"
import { type Answer, Pipeline } from "./pipeline.ts"

/**
 * A connection that is open, or was. It closes with the scope it was made in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  /**
   * Sends commands and gives one answer for each, in order. It doesn't fail:
   * commands without a reply are answered with `Unanswered`. When it is
   * interrupted, what was not sent yet is kept back.
   */
  readonly request: (commands: ReadonlyArray<Command>) => Effect.Effect<ReadonlyArray<Answer>>

  /**
   * As `request`, for a caller that has to see the answers even when nobody
   * waits for them any more. Returns a function that keeps back what was not
   * sent yet. Commands that may wait leave with those that are submitted next,
   * at the latest in the next turn of the event loop.
   */
  readonly submit: (
    commands: ReadonlyArray<Command>,
    done: (answers: ReadonlyArray<Answer>) => void,
    mayWait?: boolean
  ) => () => void

  /** False once the connection has ended. */
  readonly isOpen: () => boolean

  /** Waits for the end of the connection, and gives the error of everything that is asked for later. */
  readonly closed: Effect.Effect<BrokerError.BrokerError>

  /** Ends the connection because of an answer that can't be; `detail` says which. */
  readonly giveUp: (detail: string) => void

  /** Says how large a job of this server can be. Larger ones end the connection. */
  readonly limitJobs: (maxJobSize: number) => void
}

/**
 * Opens connections; the seam between the typed commands and what moves the bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Driver {
  /** The server, for messages: `beanstalk://127.0.0.1:11300`. */
  readonly name: string
  /** Does it know `reserve-job`, by which a job is taken by its id? */
  readonly canReserveJob: boolean
  readonly connect: Effect.Effect<Connection, BrokerError.BrokerError, Scope.Scope>
}

/**
 * How to trust a server over TLS, and how to be trusted by it.
 *
 * @category models
 * @since 0.1.0
 */
export interface TlsOptions {
  /** PEM of the authorities to trust. Default: those that Node.js trusts. */
  readonly ca?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined
  /** PEM of our certificate, for servers that ask for one. */
  readonly cert?: string | Uint8Array | undefined
  /** PEM of our private key. */
  readonly key?: Redacted.Redacted<string> | undefined
  /** The name the server's certificate has to be for. Default: the host. */
  readonly servername?: string | undefined
  /** Default: `"TLSv1.2"`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined
}

/**
 * Where a server is and how long to wait for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectOptions {
  /** Default: `"127.0.0.1"`. */
  readonly host?: string | undefined
  /** Default: 11300. */
  readonly port?: number | undefined
  /** Default: no TLS. beanstalkd itself has none; a proxy such as stunnel gives it. */
  readonly tls?: TlsOptions | undefined
  /** How long opening may take, TLS included. Default: 5 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * How long the server may owe a reply and say nothing before the connection
   * is given up. A waiting reserve has its own timeout on top. Default: 10
   * seconds.
   */
  readonly replyTimeout?: Duration.Input | undefined
  /** Do the options come from a broker's URL? Then messages name its keys. */
  readonly isFromUrl?: boolean | undefined
}

/**
 * The server's name in messages.
 *
 * @category functions
 * @since 0.1.0
 */
export const brokerName = (options: ConnectOptions): string => {
  const host = options.host ?? "127.0.0.1"
  return `beanstalk${options.tls === undefined ? "" : "s"}://${host.includes(":") ? `[${host}]` : host}:${
    options.port ?? 11300
  }`
}

/**
 * Why a connection ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ending {
  readonly detail: string
  readonly cause?: unknown
  /** The other side does not speak the protocol: repeating it will not help. */
  readonly violation?: boolean | undefined
}

const endingError = (broker: string, ending: Ending, fate: "NotSent" | "Unknown"): BrokerError.BrokerError =>
  BrokerError.make(
    ending.violation === true
      ? new BrokerError.ProtocolViolation({ broker, fate, detail: ending.detail })
      : new BrokerError.Unavailable({
        broker,
        fate,
        detail: ending.detail,
        ...(ending.cause === undefined ? {} : { cause: ending.cause })
      })
  )

/**
 * The error of a connection that could not be opened.
 *
 * @category functions
 * @since 0.1.0
 */
export const openError = (broker: string, ending: Ending): BrokerError.BrokerError =>
  endingError(broker, ending, "NotSent")

/**
 * What moves the bytes of a connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transport {
  /** Sends what the pipeline has to send, as far as the other side takes it. Called at most once a tick. */
  readonly flush: () => void
  /** Closes at once, without a word to the other side. */
  readonly destroy: () => void
}

/** Longest silence while a command is under way, in milliseconds. */
const patience = (command: Command, replyTimeout: number): number =>
  command._tag === "Reserve"
    ? Infinity
    : command._tag === "ReserveWithTimeout"
    ? command.seconds * 1000 + replyTimeout
    : replyTimeout

/**
 * Runs a step that serves a connection. A fault of ours that it throws ends the connection, so that nobody waits for ever.
 *
 * @category functions
 * @since 0.1.0
 */
export const orEnd = <A>(end: (ending: Ending) => void, step: () => A): A | void =>
  callOr(step, (cause) => end({ detail: `the connection failed: ${messageOfThrown(cause)}`, cause }))

/** A silence is looked at this many times before it is too long. */
const looks = 4

/**
 * Ends when the server owes a reply and said nothing for too long. It looks at
 * the pipeline now and then, so that a request costs no timer.
 */
const watch = (
  pipeline: Pipeline,
  replyTimeout: number,
  busy: Effect.Effect<void>
): Effect.Effect<Ending> =>
  Effect.gen(function*() {
    let silent = 0
    let seen = -1
    while (true) {
      const awaited = pipeline.awaited
      if (awaited === undefined) {
        yield* busy
        seen = -1
        continue
      }
      const allowed = patience(awaited, replyTimeout)
      const tick = Math.min(allowed, 60_000) / looks
      if (pipeline.progress !== seen) {
        silent = 0
        seen = pipeline.progress
      }
      yield* Effect.sleep(tick)
      if (pipeline.progress !== seen) continue
      silent += tick
      if (silent >= allowed) {
        const detail = `it did not answer "${awaited._tag}" within ${
          Duration.format(Duration.millis(allowed))
        }; it may be overloaded or cut off`
        return { detail, cause: new Cause.TimeoutError(detail) }
      }
    }
  })

/**
 * A connection over a transport. `open` gets the pipeline to take commands
 * from and to hand replies to, and a function to be called when the transport
 * ends.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<E, R>(
  broker: string,
  replyTimeoutInput: Duration.Input | undefined,
  open: (pipeline: Pipeline, end: (ending: Ending) => void) => Effect.Effect<Transport, E, R>
) {
  const replyTimeout = Duration.toMillis(DurationInput.fromInputUnsafe(replyTimeoutInput ?? "10 seconds"))
  const pipeline = new Pipeline()
  const closed = Deferred.makeUnsafe<BrokerError.BrokerError>()

  const end = (ending: Ending) => {
    if (pipeline.isEnded) return
    const notSent = endingError(broker, ending, "NotSent")
    pipeline.end({ sent: endingError(broker, ending, "Unknown"), notSent })
    Deferred.doneUnsafe(closed, Effect.succeed(notSent))
  }

  yield* Effect.addFinalizer(() => Effect.sync(() => end({ detail: "the connection was closed on this side" })))
  const transport = yield* open(pipeline, end)

  // No fiber sends: whoever submits asks for a flush in a microtask, so what is asked for in one tick leaves in one write.
  let resumeWatch: ((effect: Effect.Effect<void>) => void) | undefined
  let isFlushDue = false
  const flush = () => {
    isFlushDue = false
    orEnd(end, transport.flush)
    resumeWatch?.(Effect.void)
    resumeWatch = undefined
  }
  let isLateFlushDue = false
  const lateFlush = () => {
    isLateFlushDue = false
    flush()
  }
  pipeline.wake = (mayWait) => {
    if (isFlushDue) return
    if (mayWait) {
      if (!isLateFlushDue) setImmediate(lateFlush)
      isLateFlushDue = true
      return
    }
    isFlushDue = true
    queueMicrotask(flush)
  }
  const busy = Effect.callback<void>((resume) => {
    resumeWatch = resume
  })

  yield* Effect.forkScoped(Effect.map(watch(pipeline, replyTimeout, busy), end))
  // Whatever ended it, nothing is sent or read any more.
  yield* Deferred.await(closed).pipe(Effect.andThen(Effect.sync(transport.destroy)), Effect.forkScoped)

  const connection: Connection = {
    request: (commands) =>
      Effect.callback((resume) => {
        const cancel = pipeline.submit(commands, (answers) => resume(Effect.succeed(answers)))
        return Effect.sync(cancel)
      }),
    submit: (commands, done, mayWait) => pipeline.submit(commands, done, mayWait),
    isOpen: () => !pipeline.isEnded,
    closed: Deferred.await(closed),
    giveUp: (detail) => end({ detail, violation: true }),
    limitJobs: (maxJobSize) => {
      pipeline.maxJobSize = maxJobSize
    }
  }
  return connection
})
