/**
 * One pipelined connection to beanstalkd, as a value.
 *
 * Many batches of commands can be under way at once. Every command gets exactly
 * one answer, whatever happens to the connection. This module has what all
 * drivers share: the answers, the reply timeout and the end of a connection. A
 * {@link Transport} moves the bytes: `Native.ts` or `Fivebeans.ts`.
 *
 * Limits: a connection is not opened again (`reconnect.ts` does that). A
 * `reserve` that waits delays all commands behind it.
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
 * A connection. It closes with the scope that it was opened in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  /**
   * Sends commands and returns one answer for each, in order. It never fails: a command without a reply gets the answer
   * `Unanswered`. An interruption cancels the commands that were not sent yet.
   */
  readonly request: (commands: ReadonlyArray<Command>) => Effect.Effect<ReadonlyArray<Answer>>

  /**
   * Like `request`, but `done` gets the answers even after a cancellation. Returns a function that cancels the commands
   * that were not sent yet.
   */
  readonly submit: (
    commands: ReadonlyArray<Command>,
    done: (answers: ReadonlyArray<Answer>) => void
  ) => () => void

  /** Whether the connection has not ended. */
  readonly isOpen: () => boolean

  /** Waits for the end of the connection, and returns the error of all later commands. */
  readonly closed: Effect.Effect<BrokerError.BrokerError>

  /** Ends the connection because an answer breaks the protocol. `detail` says how. */
  readonly giveUp: (detail: string) => void

  /** Sets the size limit of the server's jobs. A larger job ends the connection. */
  readonly limitJobs: (maxJobSize: number) => void
}

/**
 * Opens connections. A driver is the seam between the typed commands and the socket.
 *
 * @category models
 * @since 0.1.0
 */
export interface Driver {
  /** The server, for messages: `beanstalk://127.0.0.1:11300`. */
  readonly name: string
  /** Whether it has the command `reserve-job`, which reserves a job by its id. */
  readonly canReserveJob: boolean
  readonly connect: Effect.Effect<Connection, BrokerError.BrokerError, Scope.Scope>
}

/**
 * The options of TLS.
 *
 * @category models
 * @since 0.1.0
 */
export interface TlsOptions {
  /** PEM of the trusted authorities. Default: those of Node.js. */
  readonly ca?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined
  /** PEM of the client certificate, for servers that require one. */
  readonly cert?: string | Uint8Array | undefined
  /** PEM of the private key of the client certificate. */
  readonly key?: Redacted.Redacted<string> | undefined
  /** The name that the server's certificate must have. Default: the host. */
  readonly servername?: string | undefined
  /** Default: `"TLSv1.2"`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined
}

/**
 * The address of a server, and how long to wait for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectOptions {
  /** Default: `"127.0.0.1"`. */
  readonly host?: string | undefined
  /** Default: 11300. */
  readonly port?: number | undefined
  /** Default: no TLS. beanstalkd has no TLS; put a proxy such as stunnel in front of it. */
  readonly tls?: TlsOptions | undefined
  /** How long opening may take, TLS included. Default: 5 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * How long the server may send nothing while it owes a reply. Then the connection ends. A waiting reserve adds its own
   * timeout. Default: 10 seconds.
   */
  readonly replyTimeout?: Duration.Input | undefined
  /** Whether the options come from a broker's URL. Then errors name its keys. Default: no. */
  readonly isFromUrl?: boolean | undefined
}

/**
 * The name of the server in messages.
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
 * The reason for the end of a connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ending {
  readonly detail: string
  readonly cause?: unknown
  /** Whether the other side broke the protocol, so that a retry does not help. */
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
 * Moves the bytes of a connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transport {
  /** Sends what the pipeline has to send, as far as the socket accepts it. Called at most once per tick. */
  readonly flush: () => void
  /** Closes the socket at once. */
  readonly destroy: () => void
}

/** How long the server may send nothing while a command is under way, in milliseconds. */
const maxSilence = (command: Command, replyTimeout: number): number =>
  command._tag === "Reserve"
    ? Infinity
    : command._tag === "ReserveWithTimeout"
    ? command.seconds * 1000 + replyTimeout
    : replyTimeout

/**
 * Runs a step that serves a connection. If it throws, the connection ends, so that no command waits forever.
 *
 * @category functions
 * @since 0.1.0
 */
export const orEnd = <A>(end: (ending: Ending) => void, step: () => A): A | void =>
  callOr(step, (cause) => end({ detail: `the connection failed: ${messageOfThrown(cause)}`, cause }))

/** The watch checks for progress this many times before a silence is too long. */
const checksPerSilence = 4

/**
 * Completes when the server has sent nothing for too long while it owes a reply. It checks the pipeline from time to
 * time, so that a request costs no timer.
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
      const allowed = maxSilence(awaited, replyTimeout)
      const tick = Math.min(allowed, 60_000) / checksPerSilence
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
        }: check its load and the network`
        return { detail, cause: new Cause.TimeoutError(detail) }
      }
    }
  })

/**
 * Flushes a transport after commands were submitted. No fiber sends: a flush is a microtask, so that all commands of one
 * tick leave in one write.
 */
class Flushes {
  private readonly transportFlush: () => void
  private isDue = false
  private resume: ((effect: Effect.Effect<void>) => void) | undefined

  constructor(transportFlush: () => void) {
    this.transportFlush = transportFlush
  }

  readonly request = (): void => {
    if (this.isDue) return
    this.isDue = true
    queueMicrotask(this.flush)
  }

  /** Waits for the next flush. */
  readonly next: Effect.Effect<void> = Effect.callback((resume) => {
    this.resume = resume
  })

  private readonly flush = (): void => {
    this.isDue = false
    this.transportFlush()
    this.resume?.(Effect.void)
    this.resume = undefined
  }
}

/**
 * Creates a connection on a transport. `open` gets the pipeline, and a function to call when the transport ends.
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
  const flushes = new Flushes(() => orEnd(end, transport.flush))
  pipeline.wake = flushes.request

  yield* Effect.forkScoped(Effect.map(watch(pipeline, replyTimeout, flushes.next), end))
  // After the end nothing is sent or read, whatever the reason.
  yield* Deferred.await(closed).pipe(Effect.andThen(Effect.sync(transport.destroy)), Effect.forkScoped)

  const connection: Connection = {
    request: (commands) =>
      Effect.callback((resume) => {
        const cancel = pipeline.submit(commands, (answers) => resume(Effect.succeed(answers)))
        return Effect.sync(cancel)
      }),
    submit: (commands, done) => pipeline.submit(commands, done),
    isOpen: () => !pipeline.isEnded,
    closed: Deferred.await(closed),
    giveUp: (detail) => end({ detail, violation: true }),
    limitJobs: (maxJobSize) => {
      pipeline.maxJobSize = maxJobSize
    }
  }
  return connection
})
