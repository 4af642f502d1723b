/** The flags for a notification and its device tokens. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Stdio from "effect/Stdio"
import { oneLine, safeName } from "../../internal/text.ts"
import { ApnsPayload, DeviceToken, PushType } from "../../push/apns/index.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "./flags.ts"
import { durationOrTime, readInput, readPayload } from "./publishing.ts"

/** The flags for a notification and its device tokens. */
export const notificationFlags = {
  token: Flag.String("token").pipe(
    Flag.withDescription("A device token; can be repeated"),
    Flags.repeated
  ),
  tokens: Flag.String("tokens").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("A file with device tokens, one per line, or - for standard input"),
    Flags.optional
  ),
  title: Flag.String("title").pipe(Flag.withDescription("The title of the alert"), Flags.optional),
  body: Flag.String("body").pipe(Flag.withDescription("The text of the alert"), Flags.optional),
  badge: Flags.integer("badge", 0).pipe(
    Flag.withDescription("The number on the app's icon; 0 removes it"),
    Flags.optional
  ),
  sound: Flag.String("sound").pipe(
    Flag.withDescription("The name of one of the app's sounds, or default"),
    Flags.optional
  ),
  payload: Flag.String("payload").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "A file with the whole payload as JSON, or - for standard input, instead of these flags: {\"aps\": {...}, ...}"
    ),
    Flags.optional
  ),
  topic: Flag.String("topic").pipe(
    Flag.withDescription("The app's bundle id. Default: the sender's topic"),
    Flags.optional
  ),
  pushType: Flag.Literals("push-type", PushType.PushType.literals).pipe(
    Flag.withDescription("The type of the push. Default: alert or background, if the payload is clearly one of them"),
    Flags.optional
  ),
  pushPriority: Flag.Literals("push-priority", ["10", "5", "1"]).pipe(
    Flag.withDescription(
      "10: at once, 5: when the device's power allows, 1: only if the device is awake. Default: 10, for background 5"
    ),
    Flags.optional
  ),
  expiration: durationOrTime("expiration", "Apple tries to deliver until then, instead of for at most 30 days"),
  collapseId: Flag.String("collapse-id").pipe(
    Flag.withDescription("Replace the notification with the same id on the device"),
    Flags.optional
  )
}

type Input = Command.Command.Config.Infer<typeof notificationFlags>

const decode = Schema.decodeUnknownResult(ApnsPayload.ApnsPayload)

const utf8 = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** A wrong file, or one with a heading, fails here and not push by push. */
const checkTokens = (
  tokens: ReadonlyArray<string>,
  where: (index: number) => string
): Effect.Effect<void, UsageError> => {
  const wrong = tokens.findIndex((token) => DeviceToken.check(token) !== undefined)
  return wrong < 0 ? Effect.void : Effect.fail(
    new UsageError({
      detail: `${where(wrong)} must be a device token, an even number of hexadecimal digits: it is "${
        safeName(tokens[wrong]!)
      }"`
    })
  )
}

const linesOf = Effect.fnUntraced(function*(file: string) {
  const lines = utf8(yield* readInput("tokens", file)).split(/\r?\n/)
    .map((line, index) => ({ token: line.trim(), line: index + 1 }))
    .filter(({ token }) => token !== "")
  const tokens = lines.map(({ token }) => token)
  yield* checkTokens(tokens, (index) => `--tokens ${file}: line ${lines[index]!.line}`)
  return tokens
})

const tokensOf = Effect.fnUntraced(function*({ token, tokens }: Input) {
  yield* checkTokens(token, () => "--token")
  const all = [...token, ...(tokens === undefined ? [] : yield* linesOf(tokens))]
  return all.length > 0
    ? all
    : yield* new UsageError({ detail: "a device token must be given: write --token or --tokens" })
})

const present = (values: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))

const payloadOf = Effect.fnUntraced(function*({ badge, body, payload, sound, title }: Input): Effect.fn.Return<
  unknown,
  UsageError,
  Stdio.Stdio | FileSystem.FileSystem
> {
  const alert = present({ title, body })
  const aps = present({ alert: Object.keys(alert).length === 0 ? undefined : alert, badge, sound })
  if (payload === undefined) {
    return Object.keys(aps).length > 0
      ? { aps }
      : yield* new UsageError({
        detail: "a notification must be given: write --title, --body, --badge or --sound, or --payload FILE"
      })
  }
  if (Object.keys(aps).length > 0) {
    return yield* new UsageError({
      detail: "--payload must not be given together with --title, --body, --badge or --sound: leave one side out"
    })
  }
  return yield* readPayload(payload)
})

const expirationOf = ({ expiration }: Input): Effect.Effect<number | undefined> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    if (expiration === undefined) return undefined
    const millis = DateTime.isDateTime(expiration)
      ? DateTime.toEpochMillis(expiration)
      : now + Duration.toMillis(expiration)
    return Math.ceil(millis / 1000)
  })

/** The push of these flags, checked as Apple would check it. */
export const pushOf = Effect.fnUntraced(function*(flags: Input): Effect.fn.Return<
  ApnsPayload.ApnsPayload,
  UsageError,
  Stdio.Stdio | FileSystem.FileSystem
> {
  if (flags.tokens === "-" && flags.payload === "-") {
    return yield* new UsageError({
      detail: "only one of --tokens and --payload must be - (standard input): give a file for the other"
    })
  }
  const wire = present({
    tokens: yield* tokensOf(flags),
    topic: flags.topic,
    pushType: flags.pushType,
    priority: flags.pushPriority === undefined ? undefined : Number(flags.pushPriority),
    expiration: yield* expirationOf(flags),
    collapseId: flags.collapseId,
    payload: yield* payloadOf(flags)
  })
  return yield* Effect.fromResult(Result.mapError(
    decode(wire),
    ({ message }) => new UsageError({ detail: `the notification can't be pushed: ${oneLine(message)}` })
  ))
})
