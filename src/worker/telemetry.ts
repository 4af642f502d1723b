/**
 * The telemetry of a worker: a span per job that links to the publisher's span,
 * a log line per failure, and counters per queue and outcome.
 *
 * It makes spans only with a tracing backend. It looks metrics up once per queue
 * and outcome, not once per job.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import * as Envelope from "../Envelope.ts"
import { loggable } from "../internal/loggable.ts"
import { clip, maxReasonChars, safeLine, safeName } from "../internal/text.ts"
import { formatTime } from "../internal/time.ts"
import { logAnnotations, noCounts, type Outcome } from "../Outcome.ts"
import type { Attempt } from "./attempt.ts"

/** The telemetry of a worker. */
export interface Telemetry {
  /** Starts a handler in the worker's context, with its own span and log annotations. */
  readonly run: <R>(attempt: Attempt, effect: Effect.Effect<unknown, unknown, R>) => Fiber.Fiber<unknown, unknown>
  /** Counts outcomes, and logs all but `Done`, which it logs at debug level. */
  readonly report: (outcomes: ReadonlyArray<Outcome>) => Effect.Effect<void>
}

const jobs = Metric.counter("backq_jobs", {
  description: "Deliveries that a worker settled, by queue and outcome",
  incremental: true
})

const duration = Metric.histogram("backq_job_duration_milliseconds", {
  description: "How long handlers ran, by queue",
  boundaries: Metric.exponentialBoundaries({ start: 1, factor: 2, count: 20 })
})

/** Caches one value per key. */
const memoize = <A>(make: (key: string) => A): (key: string) => A => {
  const cache = new Map<string, A>()
  return (key) => {
    let value = cache.get(key)
    if (value === undefined) cache.set(key, value = make(key))
    return value
  }
}

/** Writes a line of a worker's log. Publishers can't forge lines, and a logger that throws does not end the worker. */
export const log = (
  level: "Debug" | "Info" | "Warn" | "Error",
  message: string,
  cause?: Cause.Cause<unknown>
): Effect.Effect<void> => {
  const write = Effect.logWithLevel(level)
  const text = safeLine(clip(message, maxReasonChars))
  return Effect.ignoreCause(
    cause === undefined ? write(text) : Effect.catchCause(write(text, loggable(cause)), () => write(text))
  )
}

const line = (outcome: Outcome): Effect.Effect<void> => {
  switch (outcome._tag) {
    case "Done":
      return log("Debug", `done in ${outcome.duration} ms`)
    case "Requeued":
      return log("Debug", "requeued")
    case "Retried":
      return log(
        "Warn",
        `failed, next attempt in ${
          Duration.format(Duration.millis(Math.round(Duration.toMillis(outcome.delay))))
        }: ${outcome.reason}`,
        outcome.cause
      )
    case "Buried":
      return log("Error", `buried: ${outcome.reason}`, outcome.cause)
    case "Discarded":
      return log("Info", `discarded: ${outcome.reason}`)
    case "Expired":
      return log("Warn", `expired at ${formatTime(outcome.expiresAt)}, deleted`)
    case "LeaseLost":
      return log(
        "Warn",
        `${outcome.handled ? "done, but it will run again" : "interrupted"}: ${outcome.error.message}`
      )
  }
}

/** Ends a span with a failure that a tracer can print. A tracer that throws does not change how the handler ends. */
const endSpan = (span: Tracer.Span, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.ignoreCause(
    Effect.flatMap(References.TracerTimingEnabled, (isTimed) =>
      Effect.clockWith((clock) =>
        Effect.sync(() =>
          span.end(
            isTimed ? clock.currentTimeNanosUnsafe() : 0n,
            Exit.isSuccess(exit) ? exit : Exit.failCause(loggable(exit.cause))
          )
        )
      ))
  )

const spanned = <R>(
  effect: Effect.Effect<unknown, unknown, R>,
  name: string,
  options: Tracer.SpanOptionsNoTrace
): Effect.Effect<unknown, unknown, Exclude<R, Tracer.ParentSpan>> =>
  Effect.flatMap(
    Effect.makeSpan(name, options),
    (span) => Effect.onExit(Effect.withParentSpan(effect, span), (exit) => endSpan(span, exit))
  )

/** Makes the telemetry of handlers that run in `context`. */
export const make = Effect.fnUntraced(function*<R>(context: Context.Context<R>): Effect.fn.Return<Telemetry> {
  const traced = (yield* Tracer.Tracer) !== Tracer.nativeTracer
  const debug = !LogLevel.isGreaterThan(yield* References.MinimumLogLevel, "Debug")
  const shared = yield* References.CurrentLogAnnotations

  const metricsOf = memoize((queue) => ({
    durations: Metric.withAttributes(duration, { queue }),
    counters: Record.map(noCounts, (_, outcome) => Metric.withAttributes(jobs, { queue, outcome }))
  }))

  const jobName = memoize(safeName)

  return {
    run: (attempt, effect) => {
      const { decoded, lease } = attempt
      // an attempt that runs has a handler, and so a name
      const job = jobName(decoded.job!)
      const annotated = Context.add(context, References.CurrentLogAnnotations, {
        ...shared,
        job,
        jobId: lease.id,
        queue: lease.queue
      })
      const run = Effect.runForkWith(annotated as Context.Context<any>)
      if (!traced) return run(effect)
      const publisher = decoded.traceparent === undefined ? Option.none() : Envelope.span(decoded.traceparent)
      return run(spanned(effect, `backq.${job}`, {
        kind: "consumer",
        root: true,
        links: Option.isSome(publisher) ? [{ span: publisher.value, attributes: {} }] : [],
        attributes: { "backq.queue": lease.queue, "backq.job.id": lease.id }
      }))
    },
    report: (outcomes) => {
      const lines: Array<Effect.Effect<void>> = []
      for (const outcome of outcomes) {
        const { counters, durations } = metricsOf(outcome.queue)
        counters[outcome._tag].updateUnsafe(1, context)
        if (outcome._tag === "Done" || outcome.duration > 0) durations.updateUnsafe(outcome.duration, context)
        if (outcome._tag !== "Done" || debug) lines.push(Effect.annotateLogs(line(outcome), logAnnotations(outcome)))
      }
      return lines.length === 0 ? Effect.void : Effect.all(lines, { discard: true })
    }
  }
})
