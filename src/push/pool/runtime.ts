/** The clock, the dice and the fibers of one pool. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"

/** What plain functions of a pool need of Effect. */
export class Runtime {
  /** Closed by the pool itself, after what was sent is answered. */
  readonly scope: Scope.Closeable
  private readonly clock: Clock.Clock
  private readonly randomService: typeof Random.Random.Service
  private readonly run: (effect: Effect.Effect<unknown>) => unknown
  /** Negative when it has to be read again. */
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

  /** Monotonic, in milliseconds. It is read once for what happens together: see {@link Runtime.goOn}. */
  now(): number {
    return this.time < 0 ? this.time = Number(this.clock.monotonicTimeNanosUnsafe()) / 1e6 : this.time
  }

  /** What happens next happens at another time. */
  forgetTime(): void {
    this.time = -1
  }

  /** Milliseconds since 1970. */
  readonly epochMillis = (): number => this.clock.currentTimeMillisUnsafe()

  /** From 0 to 1. */
  random(): number {
    return this.randomService.nextDoubleUnsafe()
  }

  /** Runs for as long as the pool. */
  fork(effect: Effect.Effect<unknown>): void {
    this.run(Effect.forkIn(effect, this.scope))
  }

  /** Interrupts what was forked, and closes what was opened. */
  get close(): Effect.Effect<void> {
    return Scope.close(this.scope, Exit.void)
  }
}

/** The runtime of a pool that is being made. */
export const make: Effect.Effect<Runtime> = Effect.gen(function*() {
  return new Runtime(
    yield* Scope.make(),
    yield* Clock.Clock,
    yield* Random.Random,
    Effect.runForkWith(yield* Effect.context())
  )
})
