// nightly.ts
import { DateTime, Effect, Layer, Schedule, Schema } from "effect"
import { Job, Publisher } from "../../src/index.ts"

export const Report = Job.make("report", { payload: Schema.Struct({ day: Schema.String }) })

const publishReport = Effect.gen(function*() {
  const day = DateTime.formatIsoDateUtc(yield* DateTime.now)
  yield* Publisher.publish(Report, { day }, { id: `report-${day}` })
})

/** Publishes a report every night at 3, UTC. While the broker is away it tries again every minute. */
export const nightly = Layer.effectDiscard(publishReport.pipe(
  Effect.retry(Schedule.spaced("1 minute")),
  Effect.schedule(Schedule.cron("0 3 * * *", "UTC")),
  Effect.forkScoped
))
