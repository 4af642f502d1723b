// foreign.ts
import { Effect, Result, Schema } from "effect"
import { type Envelope, Job, Worker } from "../../src/index.ts"

const Mail = Job.make("mail", { payload: Schema.Struct({ to: Schema.String }) })

/** What the other program puts on the queue: {"type":"mail","to":"ann@example.com"}. */
const Message = Schema.fromJsonString(Schema.Struct({ type: Schema.Literal("mail"), to: Schema.String }))
const decode = Schema.decodeUnknownResult(Message)

/** Returns the job's name and payload. For any other message it returns the reason to bury the job. */
export const foreign: Envelope.ForeignDecoder = (body) =>
  Result.mapBoth(decode(Buffer.from(body).toString()), {
    onSuccess: ({ to }) => ({ job: Mail.name, payload: { to } }),
    onFailure: ({ message }) => message
  })

export const handler = Worker.handler(Mail, ({ to }) => Effect.log(`mail to ${to}`))

export const worker = Worker.layer({ foreign }, handler)
