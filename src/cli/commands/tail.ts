/**
 * `backq tail`: shows the outcomes of jobs, as workers of this user on this
 * machine settle them.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { oneLine, safeLine, safeName } from "../../internal/text.ts"
import { Tail, type TailEvent } from "../../tail/index.ts"
import { NoWorker } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { note, print, printJson, whileRead } from "../output.ts"
import { withLogging } from "../root.ts"
import { Shutdown } from "../shutdown.ts"

const config = {
  queue: Flag.String("queue").pipe(
    Flag.withDescription("Only this queue; can be repeated. Default: all"),
    Flags.repeated
  ),
  pid: Flags.integer("pid", 1).pipe(
    Flag.withDescription(
      "Only the worker with this process id, which must be running. Default: all, including those that start later"
    ),
    Flags.optional
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("Print one JSON object per line"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}

const words = {
  Done: "done",
  Retried: "retried",
  Buried: "buried",
  Discarded: "discarded",
  Expired: "expired",
  Requeued: "requeued",
  LeaseLost: "lease lost"
} as const

const wordWidth = Math.max(...Object.values(words).map((word) => word.length))

/** An event as one line of text, whatever it contains. */
export const format = (event: TailEvent.TailEvent): string => {
  const time = DateTime.formatIso(DateTime.makeUnsafe(event.at)).slice(-13, -1)
  const attempt = event.attempt === undefined ? "" : `attempt ${event.attempt}`
  const delay = event.delay === undefined ? "" : `again in ${Duration.format(Duration.millis(event.delay))}: `
  return [
    time,
    words[event.outcome].padEnd(wordWidth),
    safeName(event.queue),
    event.job === undefined || event.job === event.queue ? "" : safeName(event.job),
    `#${safeName(event.jobId)}`,
    attempt,
    `${event.duration} ms`,
    `${delay}${safeLine(oneLine(event.reason ?? ""))}`
  ].filter((part) => part !== "").join("  ")
}

/** `backq tail`. */
export const tail = Command.make("tail", config, ({ json, pid, queue }) =>
  Effect.gen(function*() {
    const { asked } = yield* Shutdown
    const offering = yield* Tail.workers()
    if (pid !== undefined && !offering.includes(pid)) return yield* new NoWorker({ pid })
    if (offering.length === 0) yield* note("no worker of this user offers outcomes yet; waiting for one")
    const shown = Tail.follow({ pid }).pipe(
      Stream.filter((event) => queue.length === 0 || queue.includes(event.queue)),
      Stream.runForEach((event) => json ? printJson(event) : print(format(event)))
    )
    yield* Effect.raceFirst(shown, asked)
  }).pipe(whileRead, withLogging)).pipe(
    Command.withDescription(
      "Show the outcomes of jobs, as the workers of this user on this machine settle them. Runs until you stop it"
    ),
    Command.withShortDescription("Follow the outcomes of workers")
  )
