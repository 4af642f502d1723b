/** The flags for a message to browsers and its subscriptions. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Message, Subscription } from "../../push/webpush/index.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "./flags.ts"
import { readInput } from "./publishing.ts"

/** The flags for a message to browsers and its subscriptions. */
export const webMessageFlags = {
  subscriptions: Flag.String("subscriptions").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "A file with subscriptions as browsers give them, or - for standard input: a JSON array, or one JSON object per line"
    )
  ),
  body: Flag.String("body").pipe(Flag.withDescription("The text that the page gets"), Flags.optional),
  payload: Flag.String("payload").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("A file with the JSON that the page gets, instead of a text"),
    Flags.optional
  ),
  ttl: Flags.duration("ttl").pipe(
    Flag.withDescription("How long the push service keeps the message for a browser that is away; 0s: not at all")
  ),
  urgency: Flag.Literals("urgency", Message.Urgency.literals).pipe(
    Flag.withDescription("How soon the push service delivers. Default: normal"),
    Flags.optional
  ),
  topic: Flag.String("topic").pipe(
    Flag.withDescription("Replace the message of the same topic that was not delivered yet"),
    Flags.optional
  )
}

type Input = Command.Command.Config.Infer<typeof webMessageFlags>

const decode = Schema.decodeUnknownResult(Subscription.Subscription)

const parse = (text: string): Result.Result<unknown, undefined> =>
  Result.try({ try: (): unknown => JSON.parse(text), catch: () => undefined })

/** The subscriptions of a file, with their place in it. */
const split = (text: string): ReadonlyArray<readonly [place: string, value: Result.Result<unknown, undefined>]> => {
  const whole = parse(text)
  if (Result.isSuccess(whole)) {
    const all: ReadonlyArray<unknown> = Array.isArray(whole.success) ? whole.success : [whole.success]
    return all.map((one, index) => [`subscription ${index + 1}`, Result.succeed(one)])
  }
  return text.split(/\r?\n/).flatMap((line, index) => line.trim() === "" ? [] : [[`line ${index + 1}`, parse(line)]])
}

/** A wrong file fails here, and not message by message. No error shows an endpoint. */
const subscriptionsOf = Effect.fnUntraced(function*({ subscriptions: file }: Input) {
  const bytes = yield* readInput("subscriptions", file)
  const found: Array<Subscription.Subscription> = []
  for (const [place, value] of split(new TextDecoder().decode(bytes))) {
    const fail = (rule: string) => new UsageError({ detail: `--subscriptions ${file}: ${place} ${rule}` })
    if (Result.isFailure(value)) return yield* fail("is not JSON: write a subscription as the browser gives it")
    const read = decode(value.success)
    if (Result.isFailure(read)) {
      return yield* fail(`must be a subscription as the browser gives it: ${read.failure.message.replace(/\s+/g, " ")}`)
    }
    found.push(read.success)
  }
  return found.length > 0
    ? found
    : yield* new UsageError({ detail: `--subscriptions ${file} must have at least one subscription` })
})

const bodyOf = Effect.fnUntraced(function*({ body, payload }: Input) {
  if (payload === undefined) return body
  if (body !== undefined) {
    return yield* new UsageError({ detail: "--payload must not be given together with --body: leave one out" })
  }
  const json = parse(new TextDecoder().decode(yield* readInput("payload", payload)))
  if (Result.isFailure(json)) return yield* new UsageError({ detail: `--payload ${payload} is not JSON` })
  return { json: json.success }
})

/** The message and the subscriptions of the flags. */
export const webMessageOf = Effect.fnUntraced(function*(flags: Input) {
  const body = yield* bodyOf(flags)
  const { topic, ttl, urgency } = flags
  const message: Message.Message = {
    ttl: Math.round(Duration.toSeconds(ttl)),
    ...(body === undefined ? undefined : { body }),
    ...(urgency === undefined ? undefined : { urgency }),
    ...(topic === undefined ? undefined : { topic })
  }
  const encoded = Message.encode(message)
  if (Result.isFailure(encoded)) return yield* new UsageError({ detail: encoded.failure.message })
  return { message, subscriptions: yield* subscriptionsOf(flags) }
})
