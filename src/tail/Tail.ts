/**
 * Shows the outcomes of a running worker to other processes, with any broker: by
 * `backq tail` or {@link follow}.
 *
 * A process that provides {@link layer} creates a Unix socket in a folder that only its
 * user may enter. A follower gets a JSON line for each outcome of the last second and
 * each later one. So {@link follow}, which watches the folder, sees every outcome of a
 * worker that starts later. Followers cost the worker little and can't block it: a slow
 * follower misses lines. Tail is for watching, not for accounting.
 *
 * ```ts
 * Worker.stream({}, handler).pipe(Stream.runForEach(Tail.offer), Effect.provide(Tail.layer))
 * ```
 *
 * Limits: only workers of the same machine and user. If the folder does not belong to this
 * user alone, or the socket can't be created, the worker logs one warning and works
 * without it, and {@link follow} fails with {@link FolderUnusable}. A follower drops the
 * connection of a process that sends a line of more than 64 KiB, or too many invalid
 * lines.
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
 * Shows outcomes to the followers of this process.
 *
 * @category services
 * @since 0.1.0
 */
export class Tail extends Context.Service<Tail, {
  /** Shows an outcome. It never waits and never fails. */
  readonly offer: (outcome: Outcome) => Effect.Effect<void>
}>()("backq/Tail") {}

/**
 * Shows an outcome to the followers of this process.
 *
 * @category accessors
 * @since 0.1.0
 */
export const offer = (outcome: Outcome): Effect.Effect<void, never, Tail> => Tail.use((tail) => tail.offer(outcome))

/**
 * The options of {@link layerOptions}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The folder of the sockets. Default: `backq` in `XDG_RUNTIME_DIR`, or `backq-UID` in the temporary folder. */
  readonly folder?: string | undefined
}

/**
 * The options of {@link follow}.
 *
 * @category models
 * @since 0.1.0
 */
export interface FollowOptions extends Options {
  /** The process to follow. Default: all workers of this user, also those that start later. */
  readonly pid?: number | undefined
}

// -----------------------------------------------------------------------------
// Offering
// -----------------------------------------------------------------------------

/** At most this many lines wait for a slow or new follower. */
const maxWaitingLines = 4096

/** A new follower gets the outcomes of this time, because it may take that long to notice a new worker. */
const replayMillis = 1000

/** How long an ending worker waits for its followers to read the rest. */
const flushTime = "300 millis"

/** The last element: the worker ends. */
const end = Symbol("end")

/** Sends the outcomes to a follower, until it disconnects or the worker ends. */
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

/** Closes the connection of a follower that does not read, which would otherwise stay open. */
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
  const events = yield* PubSub.sliding<TailEvent | typeof end>({ capacity: maxWaitingLines, replay: maxWaitingLines })
  const fs = yield* FileSystem.FileSystem

  const listen = Effect.gen(function*() {
    const folder = yield* Folder.open(options.folder ?? Folder.path())
    const path = Folder.socketOf(folder, process.pid)
    // The socket of a dead process with the same number.
    yield* fs.remove(path, { force: true })
    const server = yield* NodeSocketServer.make({ path })
    const followers = yield* FiberSet.make<void>()
    const follower = Effect.fnUntraced(function*(socket: Socket.Socket) {
      const since = clock.currentTimeMillisUnsafe() - replayMillis
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
        // The error's own message is a single word.
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

/** At most this many events wait for a slow reader. The others wait in the sockets. */
const maxBufferedEvents = 1024

/** How often to look for new workers, if the system reports no changes of the folder. */
const lookEvery = "300 millis"

const decode = Schema.decodeUnknownResult(Line)

const isAlive = (pid: number): Effect.Effect<boolean> =>
  Effect.orElseSucceed(Effect.try(() => process.kill(pid, 0)), () => false)

/** The process is not a worker, or a worker that sends garbage. */
class NotWorker extends Data.TaggedError("NotWorker")<{ readonly did: string }> {}

/** A process that sends this many invalid lines in a row is not a worker of another version. */
const maxInvalidLines = 1000

/** Reads events from the bytes of a socket. */
const reader = () => {
  const cut = Lines.cutter()
  let invalid = 0
  return (chunk: Uint8Array): Result.Result<ReadonlyArray<TailEvent>, NotWorker> => {
    const lines = cut(chunk)
    if (Result.isFailure(lines)) {
      return Result.fail(
        new NotWorker({ did: `sent a line of more than ${Lines.maxLineBytes} bytes` })
      )
    }
    const events: Array<TailEvent> = []
    for (const line of lines.success) {
      const event = decode(line)
      if (Result.isSuccess(event)) {
        invalid = 0
        events.push(event.success)
      } else if (++invalid === maxInvalidLines) {
        return Result.fail(new NotWorker({ did: `sent ${maxInvalidLines} invalid lines in a row` }))
      }
    }
    return Result.succeed(events)
  }
}

const events = (path: string): Stream.Stream<TailEvent, Socket.SocketError | NotWorker> =>
  Stream.unwrap(Effect.map(NodeSocket.makeNet({ path }), (socket) => {
    const read = reader()
    return Stream.mapEffect(Socket.toStream(socket), (chunk) => Effect.fromResult(read(chunk)))
  })).pipe(Stream.flattenIterable)

/** Requests a look at the folder when it changes, and regularly. */
const watch = Effect.fnUntraced(function*(folder: string, looks: Queue.Queue<void>) {
  const fs = yield* FileSystem.FileSystem
  const look = Queue.offer(looks, undefined)
  const changes = fs.watch(folder, { onReady: () => Queue.offerUnsafe(looks, undefined) })
  yield* Effect.forkScoped(Effect.ignoreCause(Stream.runForEach(changes, () => look)))
  yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced(lookEvery)))
})

/**
 * The outcomes of the workers of this user on this machine, as they happen. The stream does not end.
 *
 * @category functions
 * @since 0.1.0
 */
export const follow = (options: FollowOptions = {}): Stream.Stream<TailEvent, Folder.FolderUnusable> =>
  Stream.callback<TailEvent, Folder.FolderUnusable, FileSystem.FileSystem>(
    Effect.fnUntraced(function*(queue) {
      const fs = yield* FileSystem.FileSystem
      const followed = yield* FiberMap.make<number>()
      /** The sockets that have sent events, by process. */
      const over = new Map<number, string>()
      const followOne = Effect.fnUntraced(function*(folder: string, pid: number) {
        const path = Folder.socketOf(folder, pid)
        if (!(yield* isAlive(pid))) return yield* fs.remove(path, { force: true })
        const id = Option.getOrUndefined(yield* Folder.identityOf(path))
        // An ending worker may still listen for its slow followers, and would send its last events again.
        if (id === undefined || over.get(pid) === id) return
        yield* Stream.runForEach(events(path), (event) => {
          over.set(pid, id)
          return Queue.offer(queue, event)
        }).pipe(
          Effect.catchTag("NotWorker", ({ did }) => {
            over.set(pid, id)
            return Effect.logWarning(`tail stopped following process ${pid}: it ${did}`)
          }),
          Effect.ignore
        )
      }, (effect) => Effect.ignore(effect))
      // Create the folder, since a missing one can't be watched.
      const place = yield* Folder.open(options.folder ?? Folder.path())
      const looks = yield* Queue.sliding<void>(1)
      yield* watch(place, looks)
      return yield* Effect.forever(Effect.gen(function*() {
        yield* Queue.take(looks)
        // Verify it again: after a clean-up of temporary folders another user may have created it.
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
 * The processes of this user on this machine that can be followed now.
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
 * Offers the outcomes of this process, with options.
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
