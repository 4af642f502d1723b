/**
 * A driver with the package `fivebeans`, for programs that already use it. A new
 * program should use the native driver.
 *
 * Client and broker behave the same on both drivers. fivebeans is an optional
 * peer dependency. It is loaded when the first connection opens.
 *
 * fivebeans opens the connection and writes the commands. The parser of the
 * native driver reads the replies. So calls end when the socket closes, a tube
 * named `1e5` keeps its name, no YAML library runs, and each reply is limited in
 * size and checked against its command.
 *
 * Limits: no TLS, no `reserve-job`, and more CPU per job.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { EventEmitter } from "node:events"
import type { Socket } from "node:net"
import type { Broker } from "../../Broker.ts"
import * as BrokerError from "../../BrokerError.ts"
import type { Inspector } from "../../Inspector.ts"
import * as DurationInput from "../../internal/durationInput.ts"
import * as BeanstalkBroker from "./BeanstalkBroker.ts"
import * as Client from "./Client.ts"
import type { Command } from "./command.ts"
import {
  brokerName,
  type ConnectOptions,
  type Driver,
  type Ending,
  make,
  openError,
  type Transport
} from "./Connection.ts"
import { openFailure } from "./failure.ts"
import type { Pipeline } from "./pipeline.ts"
import { Receiver } from "./receiver.ts"

/** The part of a fivebeans client that this driver uses. */
interface FivebeansClient extends EventEmitter {
  readonly connect: () => void
  readonly stream: Socket | null
  /** The bytes that were received and not read yet. */
  buffer: Buffer | undefined
  /** Reads the buffer. */
  tryHandlingResponse: () => void
  /** Its queue of pending calls. */
  readonly handlers: Array<unknown>
  readonly [method: string]: unknown
}

interface Module {
  readonly default: { readonly client: new(host: string, port: number) => FivebeansClient }
}

type Method = (...args: ReadonlyArray<unknown>) => void

const unsupported = (broker: string, operation: string, hint: string) =>
  BrokerError.make(new BrokerError.Unsupported({ broker, operation, hint }))

/** The method for a command, and its arguments. `undefined` if fivebeans has no such command. */
const methodOf = (command: Command): readonly [name: string, ...args: ReadonlyArray<unknown>] | undefined => {
  switch (command._tag) {
    case "Put":
      return ["put", command.priority, command.delay, command.ttr, Buffer.from(command.body)]
    case "Use":
      return ["use", command.tube]
    case "Reserve":
      return ["reserve"]
    case "ReserveWithTimeout":
      return ["reserve_with_timeout", command.seconds]
    case "ReserveJob":
      return undefined
    case "Delete":
      return ["destroy", command.id]
    case "Release":
      return ["release", command.id, command.priority, command.delay]
    case "Bury":
      return ["bury", command.id, command.priority]
    case "Touch":
      return ["touch", command.id]
    case "Watch":
      return ["watch", command.tube]
    case "Ignore":
      return ["ignore", command.tube]
    case "Peek":
      return ["peek", command.id]
    case "PeekReady":
      return ["peek_ready"]
    case "PeekDelayed":
      return ["peek_delayed"]
    case "PeekBuried":
      return ["peek_buried"]
    case "Kick":
      return ["kick", command.bound]
    case "KickJob":
      return ["kick_job", command.id]
    case "Stats":
      return ["stats"]
    case "StatsJob":
      return ["stats_job", command.id]
    case "StatsTube":
      return ["stats_tube", command.tube]
    case "ListTubes":
      return ["list_tubes"]
    case "ListTubeUsed":
      return ["list_tube_used"]
    case "ListTubesWatched":
      return ["list_tubes_watched"]
    case "PauseTube":
      return ["pause_tube", command.tube, command.seconds]
    case "Quit":
      return ["quit"]
  }
}

/** Sent in place of a command that fivebeans lacks, so that the order of the answers stays the same. */
const standIn = ["list_tube_used"] as const

const lacking = (broker: string, command: string) =>
  unsupported(broker, command, "fivebeans has no such command: use the native driver")

const load = (
  broker: string
): Effect.Effect<new(host: string, port: number) => FivebeansClient, BrokerError.BrokerError> =>
  Effect.tryPromise({
    // @ts-expect-error: it has no types, and need not be installed
    try: (): Promise<Module> => import("fivebeans"),
    catch: () =>
      unsupported(
        broker,
        "the fivebeans driver",
        "the package is not installed: npm i fivebeans, or use the native driver"
      )
  }).pipe(Effect.map((module) => module.default.client))

const closedByServer: Ending = { detail: "the server closed the connection" }

const opened = (
  client: FivebeansClient,
  options: ConnectOptions,
  end: (ending: Ending) => void
): Effect.Effect<void, Ending> =>
  Effect.callback((resume) => {
    // fivebeans keeps the listeners; later events end the connection.
    client.on("connect", () => resume(Effect.void))
    client.on("error", (cause) => {
      const ending = openFailure(options, cause)
      resume(Effect.fail(ending))
      end(ending)
    })
    client.on("close", () => {
      resume(Effect.fail(closedByServer))
      end(closedByServer)
    })
    client.connect()
  })

const open = (options: ConnectOptions) =>
  Effect.fnUntraced(function*(pipeline: Pipeline, end: (ending: Ending) => void) {
    const name = brokerName(options)
    if (options.tls !== undefined) {
      return yield* unsupported(name, "TLS", "fivebeans has no TLS: use the native driver")
    }
    const FivebeansClient = yield* load(name)
    const client = new FivebeansClient(options.host ?? "127.0.0.1", options.port ?? 11300)
    const destroy = () => {
      client.stream?.destroy()
    }
    yield* Effect.addFinalizer(() => Effect.sync(destroy))
    yield* opened(client, options, end).pipe(
      Effect.timeoutOrElse({
        duration: DurationInput.fromInputUnsafe(options.connectTimeout ?? "5 seconds"),
        orElse: () => Effect.fail({ detail: "the connection was not opened in time: check the host and the network" })
      }),
      Effect.mapError((ending) => openError(name, ending))
    )
    client.stream?.setNoDelay(true)
    client.stream?.setKeepAlive(true, 30_000)

    const receiver = new Receiver(
      pipeline,
      (command) =>
        methodOf(command) === undefined ? { _tag: "Unanswered", error: lacking(name, command._tag) } : undefined
    )
    // The parser of fivebeans takes quadratic time, has no limits and checks nothing.
    client.tryHandlingResponse = () => {
      const received = client.buffer
      client.buffer = undefined
      const ending = received === undefined ? undefined : receiver.take(received)
      if (ending !== undefined) end(ending)
    }
    // fivebeans reports only "close", which comes late if there are bytes left to write.
    client.stream?.once("end", () => end(closedByServer))

    const flush = () => {
      for (let command = pipeline.next(); command !== undefined; command = pipeline.next()) {
        const [method, ...args] = methodOf(command) ?? standIn
        ;(client[method] as Method).call(client, ...args, () => {})
        client.handlers.length = 0
      }
    }
    const transport: Transport = { flush, destroy }
    return transport
  })

/**
 * The driver on fivebeans.
 *
 * @category constructors
 * @since 0.1.0
 */
export const driver = (options: ConnectOptions = {}): Driver => ({
  name: brokerName(options),
  canReserveJob: false,
  connect: make(brokerName(options), options.replyTimeout, open(options))
})

/**
 * The client on fivebeans.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: ConnectOptions = {}): Layer.Layer<Client.Client, BrokerError.BrokerError> =>
  Client.layerDriver(driver(options))

/**
 * The broker on fivebeans.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerBroker = (options: BeanstalkBroker.Options = {}): Layer.Layer<Broker | Inspector> =>
  BeanstalkBroker.layerDriver(driver(options), options)
