/**
 * Pools by key, for a service with many servers: the origin of an endpoint, for
 * instance, and the key that signs for it.
 *
 * The first request of a key opens its pool. A pool without requests closes after an
 * idle time, and sooner if another key needs its place: at most `capacity` pools are
 * open, and the one that was used least recently goes first. If all have requests,
 * the requests of further keys wait in order, for at most the queue timeout. So
 * endpoints from strangers can't take more than `capacity` places.
 *
 * Each pool has its own back-off, circuits and pauses: a server that is away, or that
 * refuses requests, holds up no other one.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Pool from "./Pool.ts"
import type { Failure, Provider, Refusal, Request } from "./Provider.ts"
import * as Runtime from "./runtime.ts"
import { Waiting } from "./waiting.ts"

/** The options of keyed pools. */
export interface Options<R extends Refusal, E extends Failure> {
  /** At most this many pools are open. */
  readonly capacity: number
  /** Closes a pool that had no request for this time. */
  readonly idleTimeout: Duration.Duration
  /** How long a request may wait for a place. */
  readonly queueTimeout: Duration.Duration
  /** The provider of requests that find no place. */
  readonly provider: Provider<R, E>
  /** The pool of a key. */
  readonly poolOf: (key: string) => { readonly provider: Provider<R, E>; readonly options: Pool.Options<E> }
}

/** An open pool. */
interface Entry<R extends Refusal, E extends Failure> {
  readonly key: string
  readonly pool: Pool.Pool<R, E>
  /** How many of its requests have not ended. */
  running: number
  /** When it got its last request, in milliseconds of the monotonic clock. */
  usedAt: number
}

/** A request that waits for a place. */
interface Placeless<R, E> {
  readonly key: string
  readonly request: Request
  readonly settle: (reply: Pool.Reply<R, E>) => void
  readonly since: number
  /** Cancels it, wherever it is. */
  cancel: () => void
  isCancelled: boolean
}

/** How often pools that are idle and requests that wait too long are looked for. */
const maintainInterval = Duration.seconds(1)

/** Pools by key. */
export class Pools<R extends Refusal, E extends Failure> {
  private readonly options: Options<R, E>
  private readonly makeRuntime: () => Runtime.Runtime
  private readonly runtime: Runtime.Runtime
  /** In the order of their last requests. */
  private readonly entries = new Map<string, Entry<R, E>>()
  private readonly waiting = new Waiting<Placeless<R, E>>()
  private isTicking = false
  private isClosed = false

  constructor(options: Options<R, E>, makeRuntime: () => Runtime.Runtime) {
    this.options = options
    this.makeRuntime = makeRuntime
    this.runtime = makeRuntime()
  }

  /** How many pools are open. */
  get size(): number {
    return this.entries.size
  }

  /** Calls `settle` once, and never before `submit` returns. Returns a function that cancels the request. */
  submit(key: string, request: Request, settle: (reply: Pool.Reply<R, E>) => void): () => void {
    this.runtime.forgetTime()
    if (this.isClosed) return this.refuseLater(settle)
    const entry = this.entryOf(key)
    if (entry !== undefined) return this.send(entry, request, settle)
    const since = this.runtime.now()
    const placeless: Placeless<R, E> = { key, request, settle, since, cancel: () => {}, isCancelled: false }
    this.waiting.put(placeless)
    return () => {
      placeless.isCancelled = true
      placeless.cancel()
    }
  }

  private refuseLater(settle: (reply: Pool.Reply<R, E>) => void): () => void {
    let isCancelled = false
    queueMicrotask(() => isCancelled || settle(Result.fail(this.closedError)))
    return () => {
      isCancelled = true
    }
  }

  /** The pool of a key, which becomes the one used last; `undefined` if all places have requests. */
  private entryOf(key: string): Entry<R, E> | undefined {
    const known = this.entries.get(key)
    if (known === undefined && !this.hasPlace) return undefined
    const entry = known ?? this.open(key)
    entry.usedAt = this.runtime.now()
    this.entries.delete(key)
    this.entries.set(key, entry)
    return entry
  }

  /** Whether there is a place for another pool, perhaps that of the one used least recently without requests. */
  private get hasPlace(): boolean {
    if (this.entries.size < this.options.capacity) return true
    for (const entry of this.entries.values()) {
      if (entry.running > 0) continue
      this.close(entry)
      return true
    }
    return false
  }

  private open(key: string): Entry<R, E> {
    const { options, provider } = this.options.poolOf(key)
    if (!this.isTicking) this.tick()
    return { key, pool: new Pool.Pool(provider, options, this.makeRuntime()), running: 0, usedAt: 0 }
  }

  private close({ key, pool }: Entry<R, E>): void {
    this.entries.delete(key)
    this.runtime.fork(pool.close)
  }

  private send(entry: Entry<R, E>, request: Request, settle: (reply: Pool.Reply<R, E>) => void): () => void {
    let isOver = false
    const end = () => {
      isOver = true
      if (--entry.running === 0) this.placeFreed()
    }
    entry.running++
    const cancel = entry.pool.submit(request, (reply) => {
      end()
      settle(reply)
    })
    return () => {
      if (isOver) return
      cancel()
      end()
    }
  }

  /** Sends the waiting requests that have a place now. */
  private placeFreed(): void {
    while (this.waiting.size > 0) {
      const placeless = this.waiting.take()!
      if (placeless.isCancelled) continue
      const entry = this.entryOf(placeless.key)
      if (entry === undefined) return this.waiting.putBack(placeless)
      placeless.cancel = this.send(entry, placeless.request, placeless.settle)
    }
  }

  // ---------------------------------------------------------------------------
  // Maintenance, and closing
  // ---------------------------------------------------------------------------

  private tick(): void {
    this.isTicking = true
    this.runtime.fork(
      Effect.gen({ self: this }, function*() {
        while (this.entries.size > 0) {
          yield* Effect.sleep(maintainInterval)
          this.maintain()
        }
      }).pipe(Effect.ensuring(Effect.sync(() => {
        this.isTicking = false
      })))
    )
  }

  private maintain(): void {
    this.runtime.forgetTime()
    const now = this.runtime.now()
    const { capacity, idleTimeout, provider, queueTimeout } = this.options
    const queueMillis = Duration.toMillis(queueTimeout)
    const late = this.waiting.takeWhile(({ since }) => now - since >= queueMillis)
    if (late.length > 0) {
      const error = provider.failures.timedOut(
        queueTimeout,
        `requests to ${capacity} other servers are not answered yet`
      )
      for (const { isCancelled, settle } of late) if (!isCancelled) settle(Result.fail(error))
    }
    const idleMillis = Duration.toMillis(idleTimeout)
    for (const entry of this.entries.values()) {
      if (entry.running === 0 && now - entry.usedAt >= idleMillis) this.close(entry)
    }
  }

  private get closedError(): E {
    return this.options.provider.failures.notSent("the connections were closed")
  }

  /** Fails the waiting requests, and waits for the answers to the sent ones. */
  get closeAll(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.isClosed = true
      for (const { isCancelled, settle } of this.waiting.takeAll()) {
        if (!isCancelled) settle(Result.fail(this.closedError))
      }
      const closing = Array.from(this.entries.values(), ({ pool }) => pool.close)
      this.entries.clear()
      return Effect.andThen(
        Effect.all(closing, { concurrency: "unbounded", discard: true }),
        this.runtime.close
      )
    })
  }
}

/** Makes keyed pools. When the scope closes, they wait for sent requests. */
export const make = <R extends Refusal, E extends Failure>(
  options: Options<R, E>
): Effect.Effect<Pools<R, E>, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(Runtime.maker, (makeRuntime) => new Pools(options, makeRuntime)),
    (pools) => pools.closeAll
  )
