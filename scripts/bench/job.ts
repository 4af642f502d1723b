/** The job that the benchmarks of brokers put, with the bytes that backq makes of it. */
import * as Schema from "effect/Schema"
import * as Job from "../../src/Job.ts"

/** Its payload. */
export const schema = Schema.Struct({ userId: Schema.String, text: Schema.String })

export const Small: Job.Job<typeof schema.Type> = Job.make("bench", { payload: schema })

/** The payload of one of many users. */
export const payloadOf = (user: number): typeof schema.Type => ({
  userId: String(user),
  text: "a few words for the user"
})

/** The body of a job with this payload, for those that put bytes. */
export const bodyOf = (payload: typeof schema.Type): string =>
  JSON.stringify({
    backq: 1,
    id: "01933d3c-6a80-7000-8000-000000000000",
    job: "bench",
    version: 1,
    payload,
    publishedAt: 1764000000000
  })
