// foreign.ts
import { Effect, Result, Schema } from "effect"
import { type Envelope, Job, Worker } from "../../src/index.ts"

const Mail = Job.make("mail", { payload: Schema.Struct({ to: Schema.String }) })

/** What the other program puts on the queue: {"type":"mail","to":"ann@example.com"}. */
const Message = Schema.fromJsonString(Schema.Struct({ type: Schema.Literal("mail"), to: Schema.String }))
const decode = Schema.decodeUnknownResult(Message)

/** Says which job a message is, and its payload; or, for the reason of the buried job, what is wrong with it. */
export const foreign: Envelope.ForeignDecoder = (body) =>
  Result.mapBoth(decode(Buffer.from(body).toString()), {
    onSuccess: ({ to }) => ({ job: Mail.name, payload: { to } }),
    onFailure: ({ message }) => message
  })

export const handler = Worker.handler(Mail, ({ to }) => Effect.log(`mail to ${to}`))

export const worker = Worker.layer({ foreign }, handler)
