/** Handlers that end in every possible way, with an unexpected value; and a worker that must survive it. */
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { Job, type Outcome, Publisher, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import * as Fuzz from "./fuzz.ts"

const forced = <A>(value: unknown): A => value as A

/** How a handler ends. */
export const ways: ReadonlyArray<readonly [way: string, run: (value: unknown) => Effect.Effect<unknown, unknown>]> = [
  ["fails with", (value) => Effect.fail(value)],
  ["fails later with", (value) => Effect.andThen(Effect.yieldNow, Effect.fail(value))],
  ["dies of", (value) => Effect.die(value)],
  ["throws", (value) => {
    throw value
  }],
  ["returns, where an Effect is due,", (value) => forced(value)],
  ["goes on with, where an Effect is due,", (value) => Effect.flatMap(Effect.void, () => forced(value))],
  ["fails and dies of", (value) => Effect.ensuring(Effect.fail(value), Effect.die(value))],
  ["buries for the reason", (value) => Job.bury(forced(value))],
  ["buries with the cause", (value) => Job.bury("never", value)],
  ["discards for", (value) => Job.discard(forced(value), value)],
  ["asks for another attempt because of", (value) => Job.retryAfter("1 minute", forced(value), value)]
]

const Strange = Job.make("strange", {
  payload: Schema.Int,
  queue: "q",
  retry: Schedule.spaced("1 minute").pipe(
    // a schedule is the user's code too: it reads the failure
    Schedule.tap(({ input }) => Effect.sync(() => String((input as Error).message)))
  )
})

/** A tracer that reads all of a span's end, as exporters do. */
const tracer = Tracer.make({
  span: (options) => {
    const span = new Tracer.NativeSpan(options)
    return Object.assign(span, {
      end: (time: bigint, exit: Exit.Exit<unknown, unknown>) => {
        if (Exit.isFailure(exit)) Cause.prettyErrors(exit.cause).forEach(({ message, stack }) => `${message}${stack}`)
        Tracer.NativeSpan.prototype.end.call(span, time, exit)
      }
    })
  }
})

/** Loggers as services have them: they read and print everything, and throw if that fails. */
const loggers = (lines: Array<string>) =>
  Logger.layer([
    Logger.map(Logger.formatLogFmt, (line) => void lines.push(line)),
    Logger.map(Logger.formatJson, (line) => void lines.push(line)),
    Logger.make(({ cause, message }) => void lines.push(`${message} ${Cause.pretty(cause)}`))
  ])

/**
 * Has a worker run all ways of ending with some values, then a good job, until
 * its idle time is over; and then a second worker, in the same process.
 */
export const check = (values: ReadonlyArray<readonly [what: string, value: unknown]>, options: {
  readonly traced?: boolean
} = {}): Effect.Effect<ReadonlyArray<Outcome.Outcome>> => {
  const cases = values.flatMap(([what, value]) => ways.map(([way, run]) => [`${way} ${what}`, run, value] as const))
  const lines: Array<string> = []
  const outcomes: Array<Outcome.Outcome> = []
  const handler = Worker.handler(Strange, (index) => {
    const one = cases[index]
    return one === undefined ? Effect.void : one[1](one[2])
  })
  const work = Effect.gen(function*() {
    yield* Publisher.publish(Strange, -1, { priority: 5000 })
    const drained = yield* TestBroker.drainWith({ concurrency: 3 }, handler)
    outcomes.push(...drained)
    assert.strictEqual(drained.at(-1)?._tag, "Done", "the last job")
  })
  return Effect.gen(function*() {
    yield* Publisher.publishAll(Strange, cases.keys())
    yield* work
    assert.strictEqual(outcomes.length, cases.length + 1)
    for (const outcome of outcomes) {
      if ("reason" in outcome) Fuzz.checkBounded(outcome.reason)
    }
    yield* work
    const exit = yield* Worker.run({ idleTimeout: 0 }, handler)
    assert.strictEqual(exit.reason, "IdleTimeout")
    for (const line of lines) for (const part of line.split("\n    at ")) Fuzz.checkWords(part)
    assert.isFalse(lines.some((line) => /^level=ERROR|\nlevel=ERROR/.test(line)))
    return outcomes
  }).pipe(
    Effect.provide(Layer.merge(TestBroker.layer, loggers(lines))),
    options.traced === true ? Effect.provideService(Tracer.Tracer, tracer) : (effect) => effect,
    Effect.orDie
  )
}
