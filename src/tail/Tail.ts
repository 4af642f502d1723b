/**
 * Lets the outcomes of a worker be seen from outside while it works, on any
 * broker: `backq tail`, or {@link follow}.
 *
 * A process that provides {@link layer} leaves a Unix socket in a folder that
 * only its user may enter. Who connects gets one JSON line per outcome from
 * then on. Following costs the worker next to nothing and can't hold it up:
 * with nobody there an outcome is dropped, and who reads too slowly misses
 * lines. It is for watching, not for accounting.
 *
 * ```ts
 * Worker.stream({}, handler).pipe(Stream.runForEach(Tail.offer), Effect.provide(Tail.layer))
 * ```
 *
 * Limits: workers of the same machine and user. Where the socket can't be
 * made, the worker works and says so in one warning.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import type { Outcome } from "../Outcome.ts"
import * as Folder from "./folder.ts"
import { fromOutcome, Line, type TailEvent } from "./TailEvent.ts"

// -----------------------------------------------------------------------------
// Services
// -----------------------------------------------------------------------------

/** Shows outcomes to those who follow this process. */
export class Tail extends Context.Service<Tail, {
  /** Shows an outcome. Never waits, and never fails. */
  readonly offer: (outcome: Outcome) => Effect.Effect<void>
}>()("backq/Tail") {}

/** Shows an outcome to those who follow this process. */
export const offer = (outcome: Outcome): Effect.Effect<void, never, Tail> => Tail.use((tail) => tail.offer(outcome))

/** How outcomes are offered and followed. */
export interface Options {
  /** The folder of the sockets. Default: `backq` in `XDG_RUNTIME_DIR`, or `backq-UID` in the temporary folder. */
  readonly folder?: string | undefined
}

/** How outcomes are followed. */
export interface FollowOptions extends Options {
  /** The worker to follow. Default: all of this user, also those that start later. */
  readonly pid?: number | undefined
}

// -----------------------------------------------------------------------------
// Offering
// -----------------------------------------------------------------------------

/** So many lines wait for one who reads slowly. */
const capacity = 4096

const encode = Schema.encodeSync(Line)

/** Sends what is published to one follower, until it goes. */
const serve = (events: PubSub.PubSub<TailEvent>) => (socket: Socket.Socket) =>
  Effect.scoped(Effect.gen(function*() {
    const writer = yield* socket.writer
    const { pull } = yield* socket.reader
    const send = (lines: NonEmptyReadonlyArray<TailEvent>) =>
      writer.write(lines.map((event) => `${encode(event)}\n`).join(""))
    yield* Effect.raceFirst(
      Stream.runForEachArray(Stream.fromPubSub(events), send),
      Effect.forever(pull)
    )
  })).pipe(Effect.ignore)

/** Offers the outcomes of this process. */
export const make = Effect.fnUntraced(function*(options: Options = {}) {
  const clock = yield* Clock.Clock
  const events = yield* PubSub.sliding<TailEvent>(capacity)
  const fs = yield* FileSystem.FileSystem

  const listen = Effect.gen(function*() {
    const folder = yield* Folder.open(options.folder ?? Folder.path())
    const path = Folder.socketOf(folder, process.pid)
    // one of a dead process that had the same number
    yield* fs.remove(path, { force: true })
    const server = yield* NodeSocketServer.make({ path })
    yield* Effect.forkScoped(server.run(serve(events)))
  })
  yield* Effect.catch(
    listen,
    (error) => Effect.logWarning(`"backq tail" can't follow this worker: ${error.message}`)
  )

  return Tail.of({
    offer: (outcome) =>
      Effect.sync(() => {
        PubSub.publishUnsafe(events, fromOutcome(outcome, clock.currentTimeMillisUnsafe(), process.pid))
      })
  })
})

// -----------------------------------------------------------------------------
// Following
// -----------------------------------------------------------------------------

/** How often it is looked for new workers. */
const lookEvery = "300 millis"

const decode = Schema.decodeUnknownResult(Line)

const isAlive = (pid: number): Effect.Effect<boolean> =>
  Effect.orElseSucceed(Effect.try(() => process.kill(pid, 0)), () => false)

const lines = (path: string): Stream.Stream<TailEvent, Socket.SocketError> =>
  Stream.unwrap(Effect.map(NodeSocket.makeNet({ path }), Socket.toStream)).pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.filterMap((line) => decode(line))
  )

/** The outcomes of the workers of this user on this machine, as they come, for as long as somebody looks. */
export const follow = (options: FollowOptions = {}): Stream.Stream<TailEvent> =>
  Stream.callback<TailEvent, never, FileSystem.FileSystem>(
    Effect.fnUntraced(function*(queue) {
      const fs = yield* FileSystem.FileSystem
      const folder = options.folder ?? Folder.path()
      const followed = yield* FiberMap.make<number>()
      const followOne = Effect.fnUntraced(function*(pid: number) {
        const path = Folder.socketOf(folder, pid)
        if (yield* isAlive(pid)) yield* Stream.runForEach(lines(path), (event) => Queue.offer(queue, event))
        else yield* fs.remove(path, { force: true })
      }, (effect) => Effect.ignore(effect))
      const look = Effect.gen(function*() {
        for (const pid of yield* Folder.processes(folder)) {
          if (options.pid === undefined || options.pid === pid) {
            yield* FiberMap.run(followed, pid, followOne(pid), { onlyIfMissing: true })
          }
        }
        yield* Effect.sleep(lookEvery)
      })
      return yield* Effect.forever(look)
    })
  ).pipe(Stream.provide(NodeFileSystem.layer))

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/** Offers the outcomes of this process, in a folder of one's own choice. */
export const layerOptions = (options: Options): Layer.Layer<Tail> =>
  Layer.provide(Layer.effect(Tail, make(options)), NodeFileSystem.layer)

/** Offers the outcomes of this process. */
export const layer: Layer.Layer<Tail> = layerOptions({})
