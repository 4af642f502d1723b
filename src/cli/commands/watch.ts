/**
 * `backq watch`: shows the statistics of queues repeatedly. On a terminal it
 * redraws a table. Elsewhere it prints a line for each queue whose numbers have
 * changed, and with `--json` a line for each sample.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Terminal from "effect/Terminal"
import { Inspector } from "../../Inspector.ts"
import { safeLine } from "../../internal/text.ts"
import * as Flags from "../flags/flags.ts"
import { display, OutputError, print, printJson, whileRead } from "../output.ts"
import { encodeQueue, type QueueNumbers, queueTable, type Sample, sample, withRates } from "../render/numbers.ts"
import { rate, shortDuration } from "../render/text.ts"
import { withExisting } from "../root.ts"
import { Shutdown } from "../shutdown.ts"

/** Shows a sample. It keeps its own state from one sample to the next. */
type Show = (sample: Sample) => Effect.Effect<void, OutputError>

const time = Effect.map(DateTime.now, (now) => DateTime.formatIso(now).slice(11, 19))

const line = (queue: QueueNumbers): string =>
  [
    queue.queue,
    `${queue.ready} ready`,
    `${queue.delayed} delayed`,
    `${queue.reserved} reserved`,
    `${queue.buried} buried`,
    `${queue.idleWorkers} idle`,
    ...(queue.rates === undefined ? [] : [`${rate(queue.rates.in)}/s in`, `${rate(queue.rates.out)}/s out`]),
    ...(Duration.isZero(queue.pausedFor) ? [] : [`paused for ${shortDuration(queue.pausedFor)}`])
  ].join("  ")

const counts = ({ buried, delayed, pausedFor, ready, reserved, total, idleWorkers }: QueueNumbers): string =>
  [ready, delayed, reserved, buried, idleWorkers, total, Duration.isZero(pausedFor)].join(" ")

const inLines = (): Show => {
  const shown = new Map<string, string>()
  return Effect.fnUntraced(function*({ queues }) {
    const now = yield* time
    for (const queue of queues) {
      if (shown.get(queue.queue) === counts(queue)) continue
      shown.set(queue.queue, counts(queue))
      yield* print(`${now}  ${line(queue)}`)
    }
    for (const name of shown.keys()) {
      if (queues.some(({ queue }) => queue === name)) continue
      shown.delete(name)
      yield* print(`${now}  ${name}  gone`)
    }
  })
}

const asJson: Show = Effect.fnUntraced(function*({ queues }) {
  yield* printJson({ at: yield* Clock.currentTimeMillis, queues: queues.map(encodeQueue) })
})

/** As many lines, and as much of each line, as fit on a terminal without scrolling. */
export const fit = (lines: ReadonlyArray<string>, columns: number, rows: number): ReadonlyArray<string> => {
  const safe = lines.map((line) => columns > 0 ? safeLine(line).slice(0, columns) : safeLine(line))
  return rows <= 2 || safe.length < rows ? safe : [...safe.slice(0, rows - 2), `… ${safe.length - rows + 2} more`]
}

const inPlace = Effect.gen(function*() {
  const terminal = yield* Terminal.Terminal
  const { name } = yield* Inspector
  let height = 0
  const show: Show = Effect.fnUntraced(function*({ queues }) {
    const frame = fit(
      [`${name}  ${yield* time}  Ctrl-C ends`, "", ...queueTable(queues)],
      yield* terminal.columns,
      yield* terminal.rows
    )
    // moves up to the start of the last frame, and clears from there
    const back = height === 0 ? "" : `\x1b[${height}A\r\x1b[J`
    height = frame.length
    yield* display(`${back}${frame.join("\n")}\n`)
  })
  return show
})

/** `backq watch`. */
export const watch = Command.make("watch", {
  queue: Argument.String("queue").pipe(
    Argument.withDescription("A queue; can be repeated. Default: all"),
    Argument.variadic({ min: 0 })
  ),
  interval: Flags.positiveDuration("interval").pipe(
    Flag.withDescription("The time between two samples. Default: 1s"),
    Flag.withDefault(Duration.seconds(1))
  ),
  json: Flags.json
}, ({ interval, json, queue }) =>
  Effect.gen(function*() {
    const { asked } = yield* Shutdown
    const { canAnimate } = yield* TerminalCapabilities.TerminalCapabilities
    const looks = Effect.gen(function*() {
      const show = json ? asJson : canAnimate ? yield* inPlace : inLines()
      let last = yield* sample(queue)
      yield* show(last)
      while (true) {
        yield* Effect.sleep(interval)
        const next = yield* sample(queue)
        yield* show(withRates(last, next))
        last = next
      }
    })
    // it never ends by itself, so a signal is its normal end
    yield* Effect.raceFirst(whileRead(withExisting(looks)), asked)
  })).pipe(
    Command.withDescription(
      "Show the statistics of queues repeatedly: as a table on a terminal, elsewhere as a line for each change"
    ),
    Command.withShortDescription("Watch the queues"),
    Command.withExamples([{ command: "backq watch mail --interval 5s" }])
  )
