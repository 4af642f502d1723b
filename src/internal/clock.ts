/** Reads Effect's `Clock` in milliseconds. */
import type * as Clock from "effect/Clock"

/** Milliseconds of the monotonic time, which changes of the wall clock do not affect. With fractions. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
