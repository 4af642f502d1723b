/** The flags that say what is pushed, and to whom. */
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
import * as ExactNumbers from "../../internal/exactNumbers.ts"
import { oneLine, safeName } from "../../internal/text.ts"
import { ApnsPayload, DeviceToken, PushType } from "../../push/apns/index.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "./flags.ts"
import { durationOrTime, readInput } from "./publishing.ts"

/** What is pushed, and to whom. */
export const notificationFlags = {
  token: Flag.String("token").pipe(
    Flag.withDescription("A device token; can be repeated"),
    Flags.repeated
  ),
  tokens: Flag.String("tokens").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("Device tokens from a file, or from standard input (-): one on each line"),
    Flags.optional
  ),
  title: Flag.String("title").pipe(Flag.withDescription("The title of the alert"), Flags.optional),
  body: Flag.String("body").pipe(Flag.withDescription("The text of the alert"), Flags.optional),
  badge: Flags.integer("badge", 0).pipe(
    Flag.withDescription("The number on the app's icon; 0 removes it"),
    Flags.optional
  ),
  sound: Flag.String("sound").pipe(
    Flag.withDescription("The name of a sound of the app, or default"),
    Flags.optional
  ),
  payload: Flag.String("payload").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "Instead, the whole payload as JSON from a file, or from standard input (-): {\"aps\": {...}, ...}"
    ),
    Flags.optional
  ),
  topic: Flag.String("topic").pipe(
    Flag.withDescription("The app's bundle id. Default: that of whoever sends it"),
    Flags.optional
  ),
  pushType: Flag.Literals("push-type", PushType.PushType.literals).pipe(
    Flag.withDescription("What is pushed. Default: alert or background, where the payload is certainly for one"),
    Flags.optional
  ),
  pushPriority: Flag.Literals("push-priority", ["10", "5", "1"]).pipe(
    Flag.withDescription(
      "10: now, 5: when it suits the device, 1: only if it is awake. Default: 10, for background 5"
    ),
    Flags.optional
  ),
  expiration: durationOrTime("expiration", "Until when Apple tries to deliver, instead of for up to 30 days"),
  collapseId: Flag.String("collapse-id").pipe(
    Flag.withDescription("Replace the notification with the same id on the device"),
    Flags.optional
  )
}

type Input = Command.Command.Config.Infer<typeof notificationFlags>

const decode = Schema.decodeUnknownResult(ApnsPayload.ApnsPayload)

const utf8 = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** A file of something else, or with a heading, is not to become pushes of which each fails by itself. */
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
  return all.length > 0 ? all : yield* new UsageError({ detail: "there is no device token: write --token or --tokens" })
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
        detail: "there is nothing to push: write --title, --body, --badge or --sound, or --payload FILE"
      })
  }
  if (Object.keys(aps).length > 0) {
    return yield* new UsageError({
      detail: "write either --payload FILE, or --title, --body, --badge and --sound, not both"
    })
  }
  const text = utf8(yield* readInput("payload", payload))
  return yield* Effect.fromResult(Result.try({
    try: (): unknown => ExactNumbers.parse(text),
    catch: (thrown) =>
      new UsageError({
        detail: `--payload ${payload} is ${thrown instanceof RangeError ? "nested too deeply" : "not JSON"}`
      })
  }))
})

const expirationOf = ({ expiration }: Input): Effect.Effect<number | undefined> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    if (expiration === undefined) return undefined
    const millis = DateTime.isDateTime(expiration)
      ? DateTime.toEpochMillis(expiration)
      : now + Duration.toMillis(expiration)
    return Math.ceil(millis / 1000)
  })

/** What the flags say, checked as Apple would. */
export const pushOf = Effect.fnUntraced(function*(flags: Input): Effect.fn.Return<
  ApnsPayload.ApnsPayload,
  UsageError,
  Stdio.Stdio | FileSystem.FileSystem
> {
  if (flags.tokens === "-" && flags.payload === "-") {
    return yield* new UsageError({ detail: "only one of --tokens and --payload can be read from standard input" })
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
