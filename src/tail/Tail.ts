/**
 * Lets the outcomes of a worker be seen from outside while it works, on any
 * broker: `backq tail`, or {@link follow}.
 *
 * A process that provides {@link layer} leaves a Unix socket in a folder that
 * only its user may enter. Who connects gets one JSON line per outcome of the
 * last second and from then on: so {@link follow}, which is told of a new
 * socket, sees all of a worker that starts later. Following costs the worker
 * next to nothing and can't hold it up: who reads too slowly misses lines. It
 * is for watching, not for accounting.
 *
 * ```ts
 * Worker.stream({}, handler).pipe(Stream.runForEach(Tail.offer), Effect.provide(Tail.layer))
 * ```
 *
 * Limits: workers of the same machine and user. Where the folder is not this
 * user's alone nothing is offered in it and nobody followed: the worker works and
 * says so in one warning, as when its socket can't be made; who wants to follow is
 * refused with {@link FolderUnusable}. A line that does not end costs a follower
 * 64 KiB, and the worker that sent it the connection; so do too many lines that
 * no worker sends.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberMap from "effect/FiberMap"
import * as FiberSet from "effect/FiberSet"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import { oneLine, safeLine } from "../internal/text.ts"
import { messageOfThrown } from "../internal/thrown.ts"
import type { Outcome } from "../Outcome.ts"
import * as Folder from "./folder.ts"
import * as Lines from "./lines.ts"
import { fromOutcome, Line, type TailEvent } from "./TailEvent.ts"

export { FolderUnusable } from "./folder.ts"

// -----------------------------------------------------------------------------
// Services
// -----------------------------------------------------------------------------

/**
 * Shows outcomes to those who follow this process.
 *
 * @category services
 * @since 0.1.0
 */
export class Tail extends Context.Service<Tail, {
  /** Shows an outcome. Never waits, and never fails. */
  readonly offer: (outcome: Outcome) => Effect.Effect<void>
}>()("backq/Tail") {}

/**
 * Shows an outcome to those who follow this process.
 *
 * @category accessors
 * @since 0.1.0
 */
export const offer = (outcome: Outcome): Effect.Effect<void, never, Tail> => Tail.use((tail) => tail.offer(outcome))

/**
 * How outcomes are offered and followed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The folder of the sockets. Default: `backq` in `XDG_RUNTIME_DIR`, or `backq-UID` in the temporary folder. */
  readonly folder?: string | undefined
}

/**
 * How outcomes are followed.
 *
 * @category models
 * @since 0.1.0
 */
export interface FollowOptions extends Options {
  /** The worker to follow. Default: all of this user, also those that start later. */
  readonly pid?: number | undefined
}

// -----------------------------------------------------------------------------
// Offering
// -----------------------------------------------------------------------------

/** So many lines wait for one who reads slowly, or has not come yet. */
const capacity = 4096

/** Whoever comes sees what happened in these last milliseconds: it may take so long to notice a new worker. */
const shownBefore = 1000

/** How long a worker that ends waits for those who have not read everything yet. */
const flushTime = "300 millis"

/** The last of what is published: the worker ends. */
const end = Symbol("end")

/** Sends what is published to one follower, until it goes or the worker ends. */
const serve = (events: PubSub.PubSub<TailEvent | typeof end>, since: number) => (socket: Socket.Socket) =>
  Effect.scoped(Effect.gen(function*() {
    const writer = yield* socket.writer
    const { pull } = yield* socket.reader
    const send = (lines: NonEmptyReadonlyArray<TailEvent>) =>
      writer.write(lines.map((event) => `${JSON.stringify(event)}\n`).join(""))
    const lines = Stream.fromPubSub(events).pipe(
      Stream.takeWhile((event) => event !== end),
      Stream.dropWhile(({ at }) => at < since)
    )
    yield* Effect.raceFirst(Stream.runForEachArray(lines, send), Effect.forever(pull))
  })).pipe(Effect.ignore)

/** Closes the connection of one who does not read: it would stay until all is sent. */
const cut = Effect.flatMap(Effect.serviceOption(NodeSocket.NetSocket), (connection) =>
  Effect.sync(() => {
    if (Option.isSome(connection)) connection.value.destroy()
  }))

/**
 * Offers the outcomes of this process.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options: Options = {}) {
  const clock = yield* Clock.Clock
  const events = yield* PubSub.sliding<TailEvent | typeof end>({ capacity, replay: capacity })
  const fs = yield* FileSystem.FileSystem

  const listen = Effect.gen(function*() {
    const folder = yield* Folder.open(options.folder ?? Folder.path())
    const path = Folder.socketOf(folder, process.pid)
    // one of a dead process that had the same number
    yield* fs.remove(path, { force: true })
    const server = yield* NodeSocketServer.make({ path })
    const followers = yield* FiberSet.make<void>()
    const follower = Effect.fnUntraced(function*(socket: Socket.Socket) {
      const since = clock.currentTimeMillisUnsafe() - shownBefore
      yield* Fiber.join(yield* FiberSet.run(followers, Effect.onInterrupt(serve(events, since)(socket), () => cut)))
    })
    yield* Effect.forkScoped(server.run(follower))
    yield* Effect.addFinalizer(() =>
      Effect.andThen(PubSub.publish(events, end), Effect.timeoutOption(FiberSet.awaitEmpty(followers), flushTime))
    )
  })
  yield* Effect.catch(
    listen,
    (error) =>
      Effect.logWarning(`"backq tail" can't follow this worker: ${
        // its own message is one word
        error._tag === "SocketServerError" ? safeLine(oneLine(messageOfThrown(error.reason.cause))) : error.message}`)
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

/** How many events are held for a reader that is slower than the workers. Then they wait in the sockets. */
const maxBufferedEvents = 1024

/** How often new workers are looked for where the system tells of none. */
const lookEvery = "300 millis"

const decode = Schema.decodeUnknownResult(Line)

const isAlive = (pid: number): Effect.Effect<boolean> =>
  Effect.orElseSucceed(Effect.try(() => process.kill(pid, 0)), () => false)

/** Another program than a worker's, or a worker gone wild. */
class Stranger extends Data.TaggedError("Stranger")<{ readonly did: string }> {}

/** So many lines in a row that are no events are no slip of a worker of another version. */
const maxStrangeLines = 1000

/** Reads the events in the bytes of a socket. */
const reader = () => {
  const cut = Lines.cutter()
  let strange = 0
  return (chunk: Uint8Array): Result.Result<ReadonlyArray<TailEvent>, Stranger> => {
    const lines = cut(chunk)
    if (Result.isFailure(lines)) {
      return Result.fail(
        new Stranger({ did: `sent a line of more than ${Lines.maxLineBytes} bytes, as no worker does` })
      )
    }
    const events: Array<TailEvent> = []
    for (const line of lines.success) {
      const event = decode(line)
      if (Result.isSuccess(event)) {
        strange = 0
        events.push(event.success)
      } else if (++strange === maxStrangeLines) {
        return Result.fail(new Stranger({ did: `sent ${maxStrangeLines} lines in a row that no worker sends` }))
      }
    }
    return Result.succeed(events)
  }
}

const events = (path: string): Stream.Stream<TailEvent, Socket.SocketError | Stranger> =>
  Stream.unwrap(Effect.map(NodeSocket.makeNet({ path }), (socket) => {
    const read = reader()
    return Stream.mapEffect(Socket.toStream(socket), (chunk) => Effect.fromResult(read(chunk)))
  })).pipe(Stream.flattenIterable)

/** Asks for a look: when the folder changes, and now and then. */
const watch = Effect.fnUntraced(function*(folder: string, looks: Queue.Queue<void>) {
  const fs = yield* FileSystem.FileSystem
  const look = Queue.offer(looks, undefined)
  const changes = fs.watch(folder, { onReady: () => Queue.offerUnsafe(looks, undefined) })
  yield* Effect.forkScoped(Effect.ignoreCause(Stream.runForEach(changes, () => look)))
  yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced(lookEvery)))
})

/**
 * The outcomes of the workers of this user on this machine, as they come, for as long as somebody looks.
 *
 * @category functions
 * @since 0.1.0
 */
export const follow = (options: FollowOptions = {}): Stream.Stream<TailEvent, Folder.FolderUnusable> =>
  Stream.callback<TailEvent, Folder.FolderUnusable, FileSystem.FileSystem>(
    Effect.fnUntraced(function*(queue) {
      const fs = yield* FileSystem.FileSystem
      const followed = yield* FiberMap.make<number>()
      /** The sockets that something was seen of, by process. */
      const over = new Map<number, string>()
      const followOne = Effect.fnUntraced(function*(folder: string, pid: number) {
        const path = Folder.socketOf(folder, pid)
        if (!(yield* isAlive(pid))) return yield* fs.remove(path, { force: true })
        const id = Option.getOrUndefined(yield* Folder.identityOf(path))
        // it may listen for a moment yet, since others are slow: what was shown would be shown again
        if (id === undefined || over.get(pid) === id) return
        yield* Stream.runForEach(events(path), (event) => {
          over.set(pid, id)
          return Queue.offer(queue, event)
        }).pipe(
          Effect.catchTag("Stranger", ({ did }) => {
            over.set(pid, id)
            return Effect.logWarning(`process ${pid} is not followed any more: it ${did}`)
          }),
          Effect.ignore
        )
      }, (effect) => Effect.ignore(effect))
      // made by the first worker otherwise: what is not there can't be watched
      const place = yield* Folder.open(options.folder ?? Folder.path())
      const looks = yield* Queue.sliding<void>(1)
      yield* watch(place, looks)
      return yield* Effect.forever(Effect.gen(function*() {
        yield* Queue.take(looks)
        // again: whoever cleans up temporary folders makes room for one of somebody else
        const folder = yield* Folder.verify(place)
        if (Option.isNone(folder)) return
        for (const pid of yield* Folder.processes(folder.value)) {
          if (options.pid === undefined || options.pid === pid) {
            yield* FiberMap.run(followed, pid, followOne(folder.value, pid), { onlyIfMissing: true })
          }
        }
      }))
    }),
    { bufferSize: maxBufferedEvents }
  ).pipe(Stream.provide(NodeFileSystem.layer))

/**
 * The processes of this user on this machine that offer their outcomes now.
 *
 * @category functions
 * @since 0.1.0
 */
export const workers = (
  { folder = Folder.path() }: Options = {}
): Effect.Effect<ReadonlyArray<number>, Folder.FolderUnusable> =>
  Effect.flatMap(
    Folder.verify(folder),
    Option.match({
      onNone: () => Effect.succeed([]),
      onSome: (real) => Effect.flatMap(Folder.processes(real), Effect.filter(isAlive))
    })
  ).pipe(Effect.provide(NodeFileSystem.layer))

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * Offers the outcomes of this process, in a folder of one's own choice.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOptions = (options: Options): Layer.Layer<Tail> =>
  Layer.provide(Layer.effect(Tail, make(options)), NodeFileSystem.layer)

/**
 * Offers the outcomes of this process.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Tail> = layerOptions({})
