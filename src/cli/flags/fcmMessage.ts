/** The flags for a message to Google's devices and its targets. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { FcmPayload, Target } from "../../push/fcm/index.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "./flags.ts"
import { readInput, readPayload } from "./publishing.ts"

const optionalText = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withDescription(description), Flags.optional)

/** The flags for a message and its targets. */
export const fcmMessageFlags = {
  token: Flag.String("token").pipe(
    Flag.withDescription("A registration token; can be repeated"),
    Flags.repeated
  ),
  tokens: Flag.String("tokens").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("A file with registration tokens, one per line, or - for standard input"),
    Flags.optional
  ),
  topic: optionalText("topic", "Instead of tokens: all installations that follow this topic"),
  condition: optionalText(
    "condition",
    "Instead of tokens: all installations whose topics meet it: \"'a' in topics && 'b' in topics\""
  ),
  title: optionalText("title", "The title of the notification"),
  body: optionalText("body", "The text of the notification"),
  image: optionalText("image", "The URL of an image"),
  data: Flags.assignment("data").pipe(
    Flag.withDescription("A key of the app's data and its text; can be repeated"),
    Flags.repeated
  ),
  androidPriority: Flag.Literals("android-priority", ["normal", "high"]).pipe(
    Flag.withDescription("high: wakes an Android device. Default: normal for data, high for a notification"),
    Flags.optional
  ),
  androidTtl: Flags.duration("android-ttl").pipe(
    Flag.withDescription("How long Google keeps the message for an Android device that is away. Default: 4 weeks"),
    Flags.optional
  ),
  collapseKey: optionalText("collapse-key", "Replace the message with the same key that Android has not got yet"),
  payload: Flag.String("payload").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "A file with a message of Google's API v1 as JSON, or - for standard input, instead of these flags: {\"notification\": {...}, ...}"
    ),
    Flags.optional
  )
}

type Input = Command.Command.Config.Infer<typeof fcmMessageFlags> & { readonly project: string | undefined }

const decode = Schema.decodeUnknownResult(FcmPayload.FcmPayload)

const usage = (detail: string) => new UsageError({ detail })

const present = (values: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))

const isEmpty = (value: object): boolean => Object.keys(value).length === 0

const utf8 = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

const targetOf = Effect.fnUntraced(function*({ condition, token, tokens, topic }: Input) {
  const lines = tokens === undefined ? [] : utf8(yield* readInput("tokens", tokens)).split(/\r?\n/)
  const all = [...token, ...lines.map((line) => line.trim()).filter((line) => line !== "")]
  const kinds = [all.length > 0, topic !== undefined, condition !== undefined].filter(Boolean).length
  if (kinds !== 1) {
    return yield* usage("one kind of target must be given: write --token or --tokens, or --topic, or --condition")
  }
  return present({ tokens: all.length > 0 ? [...new Set(all)] : undefined, topic, condition })
})

const fromFlags = ({ androidPriority, androidTtl, body, collapseKey, data, image, title }: Input) => {
  const notification = present({ title, body, image })
  const android = present({
    priority: androidPriority?.toUpperCase(),
    ttl: androidTtl === undefined ? undefined : `${Duration.toSeconds(androidTtl)}s`,
    collapseKey
  })
  return present({
    notification: isEmpty(notification) ? undefined : notification,
    data: data.length === 0 ? undefined : Object.fromEntries(data),
    android: isEmpty(android) ? undefined : android
  })
}

const messageOf = Effect.fnUntraced(function*(flags: Input) {
  const message = fromFlags(flags)
  const { payload } = flags
  if (payload === undefined) {
    return isEmpty(message)
      ? yield* usage("a message must be given: write --title, --body or --data, or --payload FILE")
      : message
  }
  if (!isEmpty(message)) {
    return yield* usage("--payload must not be given together with flags of the message: leave one side out")
  }
  return yield* readPayload(payload)
})

/** The message and the targets of the flags. */
export const fcmMessageOf = Effect.fnUntraced(function*(flags: Input) {
  const target = yield* targetOf(flags)
  const message = yield* messageOf(flags)
  const read = decode({ ...target, ...present({ project: flags.project }), message })
  if (Result.isFailure(read)) {
    return yield* usage(`the message can't be sent: ${read.failure.message.replace(/\s+/g, " ")}`)
  }
  const { targets } = read.success
  for (const one of targets) {
    const broken = Target.check(one)
    if (broken !== undefined) return yield* usage(`a target can't be used: ${broken.field} ${broken.rule}`)
  }
  return read.success
})
