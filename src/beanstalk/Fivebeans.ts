/**
 * The driver over the package `fivebeans`, for programs that have it already.
 *
 * The client and the broker run on it as on the native driver; a new program
 * has no reason to choose it. fivebeans is an optional peer dependency and is
 * loaded when the first connection is opened.
 *
 * What this driver makes good: calls that fivebeans leaves hanging when its
 * socket closes are ended, and replies with statistics are taken as bytes, so
 * that a tube named `1e5` keeps its name and nothing is run through fivebeans'
 * YAML library.
 *
 * Limits: no TLS, no `reserve-job`, several times the CPU per job, and time
 * that grows with the square of a body's size.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { EventEmitter } from "node:events"
import type { Socket } from "node:net"
import type { Broker } from "../Broker.ts"
import * as BrokerError from "../BrokerError.ts"
import * as BeanstalkBroker from "./BeanstalkBroker.ts"
import * as Client from "./Client.ts"
import type { Command } from "./Command.ts"
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
import type { Answer, Pipeline } from "./Pipeline.ts"
import { describeStranger, parseLine, type Reply, type Violation, withBody } from "./Reply.ts"

/** The part of a fivebeans client that is used here. */
interface FivebeansClient extends EventEmitter {
  readonly connect: () => void
  readonly stream: Socket | null
  /** Its line of pending calls; each has the object that reads the reply, and the callback. */
  readonly handlers: Array<[Handler, unknown]>
  readonly [method: string]: unknown
}

interface Handler {
  /** The words of the reply's line, without the one that was expected, and the body. */
  readonly args: ReadonlyArray<string | Buffer>
  readonly success: boolean
  readonly expectedResponse: string
  /** Which replies have a body, and what is made of it. */
  RESPONSES_REQUIRING_BODY: Record<string, "passthrough">
}

interface Module {
  readonly default: { readonly client: new(host: string, port: number) => FivebeansClient }
}

type Method = (...args: ReadonlyArray<unknown>) => void

const bodies = { RESERVED: "passthrough", FOUND: "passthrough", OK: "passthrough" } as const

const unsupported = (broker: string, operation: string, hint: string) =>
  BrokerError.make(new BrokerError.Unsupported({ broker, operation, hint }))

/** The method for a command, and its arguments. Undefined when fivebeans has none. */
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

/** Sent in place of a command that fivebeans lacks, so that its refusal keeps its place in the order of the answers. */
const standIn = ["list_tube_used"] as const

const lacking = (broker: string, command: string) =>
  unsupported(broker, command, "fivebeans has no such command; use the native driver")

/** Rebuilds the reply from what fivebeans read. It drops the body's length from the line; the parser wants one. */
const replyOf = (handler: Handler): Reply | Violation => {
  const words = handler.success ? [handler.expectedResponse, ...handler.args] : handler.args
  const body = words.at(-1)
  if (typeof body === "string" || body === undefined) {
    const reply = parseLine(words.join(" "))
    return reply._tag === "BodyHead" ? { _tag: "Violation", detail: describeStranger(words.join(" ")) } : reply
  }
  const head = parseLine([...words.slice(0, -1), body.length].join(" "))
  return head._tag === "BodyHead"
    ? withBody(head, body)
    : { _tag: "Violation", detail: describeStranger(words.join(" ")) }
}

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
      const ending = { detail: "the server closed the connection" }
      resume(Effect.fail(ending))
      end(ending)
    })
    client.connect()
  })

const open = (options: ConnectOptions) =>
  Effect.fnUntraced(function*(pipeline: Pipeline, end: (ending: Ending) => void) {
    const name = brokerName(options)
    if (options.tls !== undefined) {
      return yield* unsupported(name, "TLS", "fivebeans has none; use the native driver")
    }
    const FivebeansClient = yield* load(name)
    const client = new FivebeansClient(options.host ?? "127.0.0.1", options.port ?? 11300)
    const destroy = Effect.sync(() => {
      client.stream?.destroy()
    })
    yield* Effect.addFinalizer(() => destroy)
    yield* opened(client, options, end).pipe(
      Effect.timeoutOrElse({
        duration: Duration.fromInputUnsafe(options.connectTimeout ?? "5 seconds"),
        orElse: () => Effect.fail({ detail: "the connection was not opened in time; check the host and the network" })
      }),
      Effect.mapError((ending) => openError(name, ending))
    )
    client.stream?.setNoDelay(true)
    client.stream?.setKeepAlive(true, 30_000)

    const settle = (reply: Answer | Violation) => {
      if (reply._tag === "Violation") end({ detail: reply.detail, violation: true })
      else pipeline.answer(reply)
    }
    // fivebeans would keep such a reply for the next call.
    client.stream?.prependListener("data", () => {
      if (pipeline.outstanding === 0) end({ detail: "it sent a reply that nobody asked for", violation: true })
    })

    const call = (command: Command) => {
      const [method, ...args] = methodOf(command) ?? standIn
      const supported = methodOf(command) !== undefined
      const answered = () => {
        // fivebeans calls back for a quit at once; it is answered by the end of the connection.
        if (command._tag === "Quit") return
        settle(supported ? replyOf(handler) : { _tag: "Unanswered", error: lacking(name, command._tag) })
      }
      ;(client[method] as Method).call(client, ...args, answered)
      const handler = client.handlers.at(-1)![0]
      handler.RESPONSES_REQUIRING_BODY = bodies
    }

    const flush = Effect.sync(() => {
      for (let command = pipeline.next(); command !== undefined; command = pipeline.next()) call(command)
    })
    const transport: Transport = { flush, destroy }
    return transport
  })

/** Connects with fivebeans. */
export const driver = (options: ConnectOptions = {}): Driver => ({
  name: brokerName(options),
  connect: make(brokerName(options), options.replyTimeout, open(options))
})

/** The client on fivebeans. */
export const layer = (options: ConnectOptions = {}): Layer.Layer<Client.Client, BrokerError.BrokerError> =>
  Client.layerDriver(driver(options))

/** The broker on fivebeans. */
export const layerBroker = (options: BeanstalkBroker.Options = {}): Layer.Layer<Broker> =>
  BeanstalkBroker.layerDriver(driver(options), options)
