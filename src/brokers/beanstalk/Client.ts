/**
 * All commands of beanstalkd as typed effects, over one connection.
 *
 * This is the protocol itself. To publish jobs and to work on them, use the
 * `Broker`. All arguments are checked before a byte is sent. Concurrent calls are
 * pipelined, and complete in order.
 *
 * Limits: a reserve that waits delays every later call. The connection is not
 * opened again: after its end every call fails.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { checkPriority, checkQueue, defaultPriority } from "../../Broker.ts"
import { type BrokerError, type BrokerErrorReason, jobNotFound } from "../../BrokerError.ts"
import { checkDelay, checkMax, checkTimeout, checkTtr, isId } from "./arguments.ts"
import type { Command } from "./command.ts"
import type { Connection, ConnectOptions, Driver } from "./Connection.ts"
import { greet } from "./greet.ts"
import * as Native from "./Native.ts"
import type { Answer } from "./pipeline.ts"
import { failure, jobStats, noJob, noQueue, readOn, serverStats, tooBig, tubeList, tubeStats } from "./replies.ts"
import { requeue } from "./requeue.ts"
import type { JobStats, ServerStats, TubeStats } from "./stats.ts"

/**
 * A job and its id.
 *
 * @category models
 * @since 0.1.0
 */
export interface Job {
  readonly id: string
  readonly body: Uint8Array
}

/**
 * The result of a reserve.
 *
 * @category models
 * @since 0.1.0
 */
export type Reservation =
  | { readonly _tag: "Reserved"; readonly job: Job }
  /** No job was ready within the timeout. */
  | { readonly _tag: "TimedOut" }
  /** No job is ready, and a job of this connection has less than a second left: touch it or settle it. */
  | { readonly _tag: "DeadlineSoon" }

/**
 * The options of `put`. Times are in whole seconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface PutOptions {
  /** Default: 1024. */
  readonly priority?: number | undefined
  /** Default: 0. */
  readonly delay?: number | undefined
  /** Default: 60. */
  readonly ttr?: number | undefined
}

/**
 * The options of `release` and `bury`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReleaseOptions {
  /** Default: 1024. The server does not keep the priority of the put. */
  readonly priority?: number | undefined
  /** In whole seconds. Default: 0. */
  readonly delay?: number | undefined
}

type Call<A> = Effect.Effect<A, BrokerError>

/**
 * beanstalkd, command by command.
 *
 * @category services
 * @since 0.1.0
 */
export class Client extends Context.Service<Client, {
  /** Selects the tube of later puts, peeks and kicks. */
  readonly use: (tube: string) => Call<void>
  /** Puts a job into the used tube, and returns its id. */
  readonly put: (body: Uint8Array, options?: PutOptions) => Call<string>

  /** Waits for a job of the watched tubes, forever. After an interruption, a job that still arrives is requeued. */
  readonly reserve: Call<Reservation>
  /** Waits for a job of the watched tubes for some whole seconds. 0 does not wait. */
  readonly reserveWithTimeout: (seconds: number) => Call<Reservation>
  /** Reserves a ready, delayed or buried job of any tube. Needs beanstalkd 1.12 or newer. */
  readonly reserveJob: (id: string) => Call<Job>

  /** Deletes a job, unless another connection holds it. */
  readonly delete: (id: string) => Call<void>
  /** Makes a held job ready, or delays it. */
  readonly release: (id: string, options?: ReleaseOptions) => Call<void>
  /** Buries a held job. */
  readonly bury: (id: string, options?: Omit<ReleaseOptions, "delay">) => Call<void>
  /** Restarts the time to run of a held job. */
  readonly touch: (id: string) => Call<void>

  /** Watches a tube: reserves take its jobs, too. Returns the number of watched tubes. */
  readonly watch: (tube: string) => Call<number>
  /** Stops watching a tube. Returns the number of watched tubes; none if it is the last, which stays watched. */
  readonly ignore: (tube: string) => Call<Option.Option<number>>

  readonly peek: (id: string) => Call<Option.Option<Job>>
  readonly peekReady: Call<Option.Option<Job>>
  readonly peekDelayed: Call<Option.Option<Job>>
  readonly peekBuried: Call<Option.Option<Job>>

  /** Makes at most `max` buried jobs of the used tube ready, or delayed jobs if no job is buried. Returns how many. */
  readonly kick: (max: number) => Call<number>
  /** Makes a buried or delayed job ready. */
  readonly kickJob: (id: string) => Call<void>

  readonly stats: Call<ServerStats>
  readonly statsJob: (id: string) => Call<JobStats>
  readonly statsTube: (tube: string) => Call<TubeStats>
  readonly listTubes: Call<ReadonlyArray<string>>
  readonly listTubeUsed: Call<string>
  readonly listTubesWatched: Call<ReadonlyArray<string>>

  /** Pauses a tube for some whole seconds. 0 ends the pause. */
  readonly pauseTube: (tube: string, seconds: number) => Call<void>
  /** Closes the connection. Its jobs are ready again. Completes when it is closed. */
  readonly quit: Effect.Effect<void>
}>()("backq/beanstalk/Client") {}

type Service = Client["Service"]

type Read<A> = (answer: Answer | undefined) => Result.Result<A, BrokerError>

const checked = <A, B>(check: Result.Result<A, BrokerError>, then: (value: A) => Call<B>): Call<B> =>
  Effect.flatMap(Effect.fromResult(check), then)

const checkId = (id: string): Result.Result<string, BrokerError> =>
  isId(id) ? Result.succeed(id) : Result.fail(jobNotFound(id))

/** The client on one connection. */
class ConnectedClient implements Service {
  private readonly connection: Connection
  private readonly name: string
  /** The largest job of the server, in bytes. */
  private readonly maxJobSize: number
  /** The used tube, for messages. */
  private used = "default"

  constructor(connection: Connection, name: string, maxJobSize: number) {
    this.connection = connection
    this.name = name
    this.maxJobSize = maxJobSize
  }

  // ---------------------------------------------------------------------------
  // Publishing
  // ---------------------------------------------------------------------------

  readonly use: Service["use"] = (tube) =>
    checked(checkQueue(tube), () =>
      Effect.map(this.simple({ _tag: "Use", tube }, "Using"), () => {
        this.used = tube
      }))

  readonly put: Service["put"] = Effect.fnUntraced({ self: this }, function*(body, options = {}) {
    const priority = yield* Effect.fromResult(checkPriority(options.priority ?? defaultPriority))
    const delay = yield* Effect.fromResult(checkDelay(options.delay ?? 0))
    const ttr = yield* Effect.fromResult(checkTtr(options.ttr ?? 60))
    if (body.length > this.maxJobSize) return yield* Effect.fromResult(this.tooBig(body))
    return yield* this.call({ _tag: "Put", priority, delay, ttr, body }, (answer) => this.inserted(answer, body))
  })

  private inserted(answer: Answer | undefined, body: Uint8Array): Result.Result<string, BrokerError> {
    switch (answer?._tag) {
      case "Inserted":
        return Result.succeed(answer.id)
      // The server has no memory to queue the job, and has buried it.
      case "Buried":
        return failure(this.name, "Put", { _tag: "OutOfMemory" })
      case "JobTooBig":
        return this.tooBig(body)
      default:
        return failure(this.name, "Put", answer)
    }
  }

  private tooBig(body: Uint8Array): Result.Result<never, BrokerError> {
    return tooBig(this.used, body.length, this.maxJobSize)
  }

  // ---------------------------------------------------------------------------
  // Reserving
  // ---------------------------------------------------------------------------

  readonly reserve: Service["reserve"] = this.reserving({ _tag: "Reserve" })

  readonly reserveWithTimeout: Service["reserveWithTimeout"] = (seconds) =>
    checked(checkTimeout(seconds), () => this.reserving({ _tag: "ReserveWithTimeout", seconds }))

  readonly reserveJob: Service["reserveJob"] = (id) =>
    checked(checkId(id), () =>
      this.call({ _tag: "ReserveJob", id }, (answer) =>
        answer?._tag === "Reserved"
          ? Result.succeed({ id: answer.id, body: answer.body })
          : failure(this.name, "ReserveJob", answer, noJob(id))))

  private reserving(command: Command): Call<Reservation> {
    return Effect.callback((resume) => {
      let isAwaited = true
      const cancel = this.connection.submit([command], ([answer]) => {
        if (isAwaited) resume(Effect.fromResult(this.reservation(answer)))
        else if (answer?._tag === "Reserved") requeue(this.connection, [answer.id], () => {})
      })
      return Effect.sync(() => {
        isAwaited = false
        cancel()
      })
    })
  }

  private reservation(answer: Answer | undefined): Result.Result<Reservation, BrokerError> {
    switch (answer?._tag) {
      case "Reserved":
        return Result.succeed({ _tag: "Reserved", job: { id: answer.id, body: answer.body } })
      case "TimedOut":
      case "DeadlineSoon":
        return Result.succeed({ _tag: answer._tag })
      default:
        return failure(this.name, "Reserve", answer)
    }
  }

  readonly delete: Service["delete"] = (id) => this.onJob({ _tag: "Delete", id }, "Deleted")

  readonly release: Service["release"] = (id, { delay = 0, priority = defaultPriority } = {}) =>
    checked(
      checkPriority(priority),
      () => checked(checkDelay(delay), () => this.onJob({ _tag: "Release", id, priority, delay }, "Released"))
    )

  readonly bury: Service["bury"] = (id, { priority = defaultPriority } = {}) =>
    checked(checkPriority(priority), () => this.onJob({ _tag: "Bury", id, priority }, "Buried"))

  readonly touch: Service["touch"] = (id) => this.onJob({ _tag: "Touch", id }, "Touched")

  readonly watch: Service["watch"] = (tube) =>
    checked(
      checkQueue(tube),
      () =>
        this.call({ _tag: "Watch", tube }, (answer) =>
          answer?._tag === "Watching" ? Result.succeed(answer.count) : failure(this.name, "Watch", answer))
    )

  readonly ignore: Service["ignore"] = (tube) =>
    checked(checkQueue(tube), () =>
      this.call({ _tag: "Ignore", tube }, (answer) => {
        if (answer?._tag === "Watching") return Result.succeed(Option.some(answer.count))
        return answer?._tag === "NotIgnored" ? Result.succeed(Option.none()) : failure(this.name, "Ignore", answer)
      }))

  // ---------------------------------------------------------------------------
  // Operating
  // ---------------------------------------------------------------------------

  readonly peek: Service["peek"] = (id) => isId(id) ? this.found({ _tag: "Peek", id }) : Effect.succeedNone

  readonly peekReady: Service["peekReady"] = this.found({ _tag: "PeekReady" })

  readonly peekDelayed: Service["peekDelayed"] = this.found({ _tag: "PeekDelayed" })

  readonly peekBuried: Service["peekBuried"] = this.found({ _tag: "PeekBuried" })

  private found(command: Command): Call<Option.Option<Job>> {
    return this.call(command, (answer) => {
      if (answer?._tag === "Found") return Result.succeed(Option.some({ id: answer.id, body: answer.body }))
      return answer?._tag === "NotFound" ? Result.succeed(Option.none()) : failure(this.name, command._tag, answer)
    })
  }

  readonly kick: Service["kick"] = (max) =>
    checked(
      checkMax(max),
      () =>
        this.call({ _tag: "Kick", bound: max }, (answer) =>
          answer?._tag === "Kicked" && answer.count !== undefined
            ? Result.succeed(answer.count)
            : failure(this.name, "Kick", answer))
    )

  readonly kickJob: Service["kickJob"] = (id) => this.onJob({ _tag: "KickJob", id }, "Kicked")

  readonly stats: Service["stats"] = this.call({ _tag: "Stats" }, (answer) => serverStats(this.name, answer))

  readonly statsJob: Service["statsJob"] = (id) =>
    checked(checkId(id), () => this.call({ _tag: "StatsJob", id }, (answer) => jobStats(this.name, id, answer)))

  readonly statsTube: Service["statsTube"] = (tube) =>
    checked(
      checkQueue(tube),
      () => this.call({ _tag: "StatsTube", tube }, (answer) => tubeStats(this.name, tube, answer))
    )

  readonly listTubes: Service["listTubes"] = this.list("ListTubes")

  readonly listTubesWatched: Service["listTubesWatched"] = this.list("ListTubesWatched")

  private list(command: "ListTubes" | "ListTubesWatched"): Call<ReadonlyArray<string>> {
    return this.call({ _tag: command }, (answer) => tubeList(this.name, command, answer))
  }

  readonly listTubeUsed: Service["listTubeUsed"] = this.call(
    { _tag: "ListTubeUsed" },
    (answer) => answer?._tag === "Using" ? Result.succeed(answer.tube) : failure(this.name, "ListTubeUsed", answer)
  )

  readonly pauseTube: Service["pauseTube"] = (tube, seconds) =>
    checked(
      checkQueue(tube),
      () =>
        checked(checkDelay(seconds), () => this.simple({ _tag: "PauseTube", tube, seconds }, "Paused", noQueue(tube)))
    )

  // The server sends no reply. The end of the connection completes the command.
  readonly quit: Service["quit"] = Effect.asVoid(this.request({ _tag: "Quit" }))

  // ---------------------------------------------------------------------------
  // Calls
  // ---------------------------------------------------------------------------

  private request(command: Command): Effect.Effect<ReadonlyArray<Answer>> {
    return Effect.suspend(() => this.connection.request([command]))
  }

  private call<A>(command: Command, read: Read<A>): Call<A> {
    return Effect.flatMap(
      this.request(command),
      ([answer]) => Effect.fromResult(readOn(this.connection, answer, read))
    )
  }

  /** For commands whose success is a reply without content. */
  private simple(command: Command, success: Answer["_tag"], notFound?: BrokerErrorReason): Call<void> {
    return this.call(command, (answer) =>
      answer?._tag === success
        ? Result.void
        : failure(this.name, command._tag, answer, notFound))
  }

  private onJob(command: Extract<Command, { readonly id: string }>, success: Answer["_tag"]): Call<void> {
    return checked(checkId(command.id), () => this.simple(command, success, noJob(command.id)))
  }
}

/**
 * Opens a connection, and closes it with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (driver: Driver): Effect.Effect<Service, BrokerError, Scope.Scope> =>
  Effect.map(
    greet(driver),
    ({ connection, stats }) => new ConnectedClient(connection, driver.name, stats["max-job-size"])
  )

/**
 * The client on your own driver.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDriver = (driver: Driver): Layer.Layer<Client, BrokerError> => Layer.effect(Client, make(driver))

/**
 * The client at a host and port. Fails if the server can't be reached.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: ConnectOptions = {}): Layer.Layer<Client, BrokerError> =>
  layerDriver(Native.driver(options))
