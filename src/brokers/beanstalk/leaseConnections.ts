/**
 * Opens and closes the connections of a consumer.
 *
 * A connection that waits for a job can't do anything else, and a connection that
 * holds leases must not wait. So a busy consumer has several. They open on
 * demand, and all idle ones but two are closed.
 *
 * beanstalkd (up to 1.13) does not end the lease of a job from
 * `reserve-with-timeout` until its connection sends the next command. So each
 * connection that holds leases sends one every second.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as BrokerError from "../../BrokerError.ts"
import type { Driver } from "./Connection.ts"
import { greet } from "./greet.ts"
import type { BeanstalkLease, Holder } from "./lease.ts"
import { backOff, isWorthWaiting, Log, Throttle } from "./reconnect.ts"

/** More leases on one connection make the server slow. */
const maxLeases = 256
/** At most this many idle connections stay open. */
const maxIdle = 2

type Watching = Parameters<typeof greet>[1]

const watchOnly = (queues: ReadonlyArray<string>): Watching => {
  const watch = queues.map((tube) => ({ _tag: "Watch", tube }) as const)
  return queues.includes("default") ? watch : [...watch, { _tag: "Ignore", tube: "default" }]
}

/** The connections of a consumer. */
export class LeaseConnections {
  private readonly all = new Set<Holder>()
  /** When the server was lost. An interrupted call does not reset it. */
  private awaySince: number | undefined
  private wakeKeepAlive: (() => void) | undefined
  private readonly driver: Driver
  private readonly watching: Watching
  private readonly log: Log
  private readonly throttle = new Throttle()
  private readonly scope: Scope.Scope
  private readonly reconnectFor: Duration.Duration
  private readonly onLost: (leases: ReadonlyArray<BeanstalkLease>) => void

  constructor(options: {
    readonly driver: Driver
    readonly queues: ReadonlyArray<string>
    readonly scope: Scope.Scope
    readonly reconnectFor: Duration.Duration
    readonly onLost: (leases: ReadonlyArray<BeanstalkLease>) => void
  }) {
    this.driver = options.driver
    this.log = new Log(options.driver.name)
    this.watching = watchOnly(options.queues)
    this.scope = options.scope
    this.reconnectFor = options.reconnectFor
    this.onLost = options.onLost
  }

  has(holder: Holder): boolean {
    return this.all.has(holder)
  }

  /** Whether no connection is open. */
  get isEmpty(): boolean {
    for (const holder of this.all) if (holder.connection.isOpen()) return false
    return true
  }

  [Symbol.iterator](): Iterator<Holder> {
    return this.all.values()
  }

  /** A connection that may wait, because it holds no leases. */
  get free(): Holder | undefined {
    for (const holder of this.all) {
      if (!holder.reserving && holder.leases.size === 0 && holder.connection.isOpen()) return holder
    }
    return undefined
  }

  /** The connection to reserve on without waiting: the one with most leases, so that others stay free. */
  get loaded(): Holder | undefined {
    let best: Holder | undefined
    for (const holder of this.all) {
      if (holder.reserving || holder.leases.size >= maxLeases || !holder.connection.isOpen()) continue
      if (best === undefined || holder.leases.size > best.leases.size) best = holder
    }
    return best
  }

  /** Closes the idle connections above {@link maxIdle}. */
  readonly trim = Effect.suspend(() => {
    if (this.all.size <= maxIdle) return Effect.void
    const idle = Array.from(this.all).filter((holder) => !holder.reserving && holder.leases.size === 0)
    return Effect.forEach(idle.slice(maxIdle), (holder) => this.close(holder), { discard: true })
  })

  /** Closes a connection. The server makes its jobs ready again. */
  close(holder: Holder): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.all.delete(holder)
      holder.leases.clear()
      return Scope.close(holder.scope, Exit.void)
    })
  }

  /**
   * Sends a command every second while there are leases, so that the server ends those that have expired. A worker whose
   * jobs are short wakes this fiber once a second, not once a job.
   */
  readonly sendKeepAlive: Effect.Effect<never> = Effect.suspend(() =>
    Effect.andThen(this.isHolding ? Effect.void : this.nextHold, Effect.sleep("1 second"))
  ).pipe(
    Effect.andThen(Effect.sync(() => {
      for (const { connection, leases } of this.all) {
        if (leases.size > 0) connection.submit([{ _tag: "ListTubeUsed" }], () => {})
      }
    })),
    Effect.forever
  )

  private readonly nextHold = Effect.callback<void>((resume) => {
    this.wakeKeepAlive = () => resume(Effect.void)
  })

  private get isHolding(): boolean {
    for (const { leases } of this.all) if (leases.size > 0) return true
    return false
  }

  /** Adds leases to a connection. */
  hold(holder: Holder, leases: ReadonlyArray<BeanstalkLease>): void {
    for (const lease of leases) {
      const earlier = holder.leases.get(lease.id)
      // The server has delivered the job again, so the earlier lease has expired.
      if (earlier !== undefined) this.onLost([earlier])
      holder.leases.set(lease.id, lease)
    }
    this.wakeKeepAlive?.()
    this.wakeKeepAlive = undefined
  }

  /** Tries once to open a connection. */
  readonly attempt: Effect.Effect<Holder, BrokerError.BrokerError> = Effect.uninterruptibleMask((restore) =>
    Effect.gen({ self: this }, function*() {
      const scope = yield* Scope.fork(this.scope)
      const { connection } = yield* greet(this.driver, this.watching).pipe(
        Scope.provide(scope),
        restore,
        Effect.onError(() => Scope.close(scope, Exit.void))
      )
      const openedAt = yield* Clock.currentTimeMillis
      const holder: Holder = { connection, scope, openedAt, leases: new Map(), reserving: false }
      this.all.add(holder)
      yield* connection.closed.pipe(Effect.andThen(this.lost(holder)), Effect.forkIn(this.scope))
      return holder
    })
  )

  /** Opens a connection. Retries for up to `reconnectFor` while the server is away. */
  readonly open: Effect.Effect<Holder, BrokerError.BrokerError> = Effect.gen({ self: this }, function*() {
    const since = this.awaySince ??= yield* Clock.currentTimeMillis
    // The caller may have seen the end of a connection before `lost` ran for it.
    const ended = Array.from(this.all).filter(({ connection }) => !connection.isOpen())
    yield* Effect.forEach(ended, (holder) => this.lost(holder), { discard: true })
    yield* this.throttle.pause
    for (let failures = 1;; failures++) {
      const result = yield* Effect.result(this.attempt)
      if (result._tag === "Success") {
        this.awaySince = undefined
        yield* this.log.opened
        return result.success
      }
      const error = result.failure
      if (!isWorthWaiting(error)) return yield* error
      const pause = yield* backOff(failures)
      const away = (yield* Clock.currentTimeMillis) - since + Duration.toMillis(pause)
      if (away > Duration.toMillis(this.reconnectFor)) return yield* error
      yield* this.log.failed(error)
      yield* Effect.sleep(pause)
    }
  })

  /** Called at the end of a connection. Its leases are lost, unless this side closed it. */
  private lost(holder: Holder): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (!this.all.delete(holder)) return Effect.void
      this.onLost(Array.from(holder.leases.values()))
      holder.leases.clear()
      return Effect.gen({ self: this }, function*() {
        this.throttle.ended(holder.openedAt, yield* Clock.currentTimeMillis)
        yield* this.log.ended(yield* holder.connection.closed)
        yield* Scope.close(holder.scope, Exit.void)
      })
    })
  }
}
