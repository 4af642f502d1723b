/** The clock, the random numbers and the fibers of one pool. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { monotonicMillis } from "../../internal/clock.ts"

/** The services of Effect that the plain methods of a pool use. */
export class Runtime {
  /** The pool closes it after its sent requests have ended. */
  readonly scope: Scope.Closeable
  private readonly clock: Clock.Clock
  private readonly randomService: typeof Random.Random.Service
  private readonly run: (effect: Effect.Effect<unknown>) => unknown
  /** The cached time; negative if the clock must be read again. */
  private time = -1

  constructor(
    scope: Scope.Closeable,
    clock: Clock.Clock,
    randomService: typeof Random.Random.Service,
    run: (effect: Effect.Effect<unknown>) => unknown
  ) {
    this.scope = scope
    this.clock = clock
    this.randomService = randomService
    this.run = run
  }

  /** The monotonic time, in milliseconds. It is cached until {@link Runtime.forgetTime}. */
  now(): number {
    return this.time < 0 ? this.time = monotonicMillis(this.clock) : this.time
  }

  /** Reads the clock again at the next {@link Runtime.now}. */
  forgetTime(): void {
    this.time = -1
  }

  /** Milliseconds since 1970. */
  readonly epochMillis = (): number => this.clock.currentTimeMillisUnsafe()

  /** A random number from 0 to 1. */
  random(): number {
    return this.randomService.nextDoubleUnsafe()
  }

  /** Runs an effect until it ends or the pool closes. */
  fork(effect: Effect.Effect<unknown>): void {
    this.run(Effect.forkIn(effect, this.scope))
  }

  /** Interrupts the fibers and closes the connections. */
  get close(): Effect.Effect<void> {
    return Scope.close(this.scope, Exit.void)
  }
}

/** Returns a function that makes the runtimes of pools with this fiber's services. */
export const maker: Effect.Effect<() => Runtime> = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const run = Effect.runForkWith(yield* Effect.context())
  return () => new Runtime(Scope.makeUnsafe(), clock, random, run)
})

/** Makes the runtime of a pool. */
export const make: Effect.Effect<Runtime> = Effect.map(maker, (make) => make())
