/**
 * `backq webpush-simulator`: simulates a push service for browsers on this machine and
 * prints every message, decrypted. So a sender can be tried without a browser.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { clip, safeLine } from "../../internal/text.ts"
import { VapidKey } from "../../push/webpush/index.ts"
import { type Personality, Script, WebPushSimulator } from "../../testing/webpush/index.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { print, printJson, whileRead } from "../output.ts"
import { Shutdown } from "../shutdown.ts"
import { program, quoted } from "../thisProgram.ts"

// -----------------------------------------------------------------------------
// Flags
// -----------------------------------------------------------------------------

/** Everything that a share of the messages can be refused for. */
const able: Readonly<Record<Personality.Refusal, true>> = {
  UnknownSubscription: true,
  MissingToken: true,
  BadToken: true,
  BadSubject: true,
  KeyMismatch: true,
  DeadSubscription: true,
  BadTtl: true,
  BadTopic: true,
  BadUrgency: true,
  BadEncoding: true,
  BadCachePolicy: true,
  TooLarge: true,
  Throttled: true,
  ServerError: true
}

const refusals: ReadonlyArray<string> = Object.keys(able)

const parseRefusal = (text: string): Option.Option<Script.Rule> => {
  const [reason = "", share = "1", ...rest] = text.split("=")
  const part = /^(?:\d+(?:\.\d+)?|\.\d+)$/.test(share) ? Number(share) : NaN
  return refusals.includes(reason) && part >= 0 && part <= 1 && rest.length === 0
    ? Option.some({ do: Script.refuse(reason as Personality.Refusal), share: part })
    : Option.none()
}

const config = {
  host: Flag.String("host").pipe(
    Flag.withDescription("The address to listen on. Default: 127.0.0.1"),
    Flag.withDefault("127.0.0.1")
  ),
  port: Flags.integer("port", 0).pipe(
    Flag.filter((port) => port <= 65_535, () => "a port from 0 to 65535"),
    Flag.withDescription("The port to listen on; 0 picks a free port. Default: 2198"),
    Flag.withDefault(2198)
  ),
  folder: Flag.String("folder").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription(
      "The folder for its CA certificate, a VAPID key and the subscriptions; created if its parent exists. Default: a temporary folder, removed at the end"
    ),
    Flags.optional
  ),
  personality: Flag.Literals("personality", ["mozilla", "google", "apple", "wns", "plain"]).pipe(
    Flag.withDescription("Which push service it plays; plain: one with HTTP/1.1 alone. Default: mozilla"),
    Flag.withDefault("mozilla")
  ),
  browsers: Flags.integer("browsers", 1).pipe(
    Flag.withDescription("How many browsers have subscribed. Default: 1"),
    Flag.withDefault(1)
  ),
  refuse: Flag.String("refuse").pipe(
    Flag.withMetavar("REASON=SHARE"),
    Flag.filterMap(
      parseRefusal,
      () => `one of ${refusals.join(", ")} and a share of the messages, such as Throttled=0.1`
    ),
    Flag.withDescription("Refuse a share of the messages: Throttled=0.1; can be repeated"),
    Flags.repeated
  ),
  delay: Flags.duration("delay").pipe(
    Flag.withDescription("The delay before each answer. Default: none"),
    Flags.optional
  ),
  seed: Flags.integer("seed", 0).pipe(
    Flag.withDescription("The seed that selects which messages are refused. Default: 0"),
    Flag.withDefault(0)
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("Print one JSON object per line: first its address, then each message"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}

// -----------------------------------------------------------------------------
// Output
// -----------------------------------------------------------------------------

/** Its address, and what a client needs to push to it. */
interface Place {
  readonly personality: Personality.Personality
  readonly origin: string
  /** The host and port, for the flag `--allow`. */
  readonly allow: string
  /** The address that it listens on. */
  readonly address: string
  /** The paths of its CA certificate, of a VAPID key, and of the subscriptions. */
  readonly ca: string
  readonly key: string
  readonly subscriptions: string
}

const introduce = (place: Place, program: string): string =>
  `Web Push simulator (${place.personality}) on ${place.origin}

CA certificate  ${place.ca}
VAPID key       ${place.key}
subscriptions   ${place.subscriptions}

Push to it:
  ${program} push webpush --body hello --ttl 1h --subscriptions ${quoted(place.subscriptions)} \\
    --key ${quoted(place.key)} --subject mailto:ops@example.com \\
    --ca ${quoted(place.ca)} --allow ${place.allow} --allow-address ${place.address}

Ctrl-C ends it.
`

const time = (millis: number): string => DateTime.formatIso(DateTime.makeUnsafe(millis)).slice(11, 23)

/** A message as one line of text. */
const format = ({ at, headers, reason, status, target, text }: WebPushSimulator.Push): string =>
  [
    time(at),
    reason === undefined ? String(status ?? "no answer") : `${status} ${reason}`,
    target || "no subscription",
    `ttl ${headers.ttl ?? "missing"}`,
    headers.urgency ?? "normal",
    text === undefined ? "no text" : clip(safeLine(text), 200)
  ].join("  ")

/** A message as JSON, without the sender's token. */
const toJson = ({ body, headers, ...push }: WebPushSimulator.Push) => {
  const { authorization: _, ...others } = headers
  return { ...push, bytes: body.length, headers: others }
}

// -----------------------------------------------------------------------------
// The command
// -----------------------------------------------------------------------------

const write = Effect.fnUntraced(function*(
  folder: string | undefined,
  files: Record<"ca.pem" | "vapid.json" | "subscriptions.json", string>
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const at = folder ?? (yield* fs.makeTempDirectoryScoped({ prefix: "backq-webpush-" }))
  // not recursive: below /proc Node.js would never return
  yield* fs.makeDirectory(at).pipe(
    Effect.catchIf(({ reason }) => reason._tag === "AlreadyExists", () => Effect.void)
  )
  for (const [name, content] of Object.entries(files)) {
    yield* fs.writeFileString(path.join(at, name), content, { mode: 0o600 })
  }
  return {
    ca: path.resolve(at, "ca.pem"),
    key: path.resolve(at, "vapid.json"),
    subscriptions: path.resolve(at, "subscriptions.json")
  }
})

/** `backq webpush-simulator`. */
export const webPushSimulator = Command.make(
  "webpush-simulator",
  config,
  ({ browsers, delay, folder, host, json, personality, port, refuse, seed }) =>
    Effect.gen(function*() {
      const { asked: stopped } = yield* Shutdown
      const { privateKey, publicKey } = yield* VapidKey.generate
      const simulator = yield* WebPushSimulator.make({
        host,
        port,
        personality,
        name: "localhost",
        script: { seed, rules: refuse, ...(delay === undefined ? undefined : { delay }) },
        record: false
      })
      const subscribed = yield* Effect.replicateEffect(
        simulator.subscribe({ applicationServerKey: publicKey }),
        browsers
      )
      const paths = yield* write(folder, {
        "ca.pem": simulator.ca,
        "vapid.json": `${JSON.stringify({ publicKey, privateKey: Redacted.value(privateKey) })}\n`,
        "subscriptions.json": `${JSON.stringify(subscribed, undefined, 2)}\n`
      })
      const { allow, origin } = simulator
      const place: Place = { personality, origin, allow, address: host, ...paths }
      const shown = Stream.runForEach(simulator.changes, (push) => json ? printJson(toJson(push)) : print(format(push)))
      const showing = yield* Effect.forkScoped(shown, { startImmediately: true })
      const introduced = json ? printJson(place) : print(...introduce(place, yield* program).split("\n"))
      yield* Effect.raceFirst(Effect.andThen(introduced, Fiber.join(showing)), stopped)
    }).pipe(
      whileRead,
      Effect.scoped,
      Effect.catchTags({
        ListenError: ({ message }) => Effect.fail(new UsageError({ detail: message })),
        PlatformError: ({ message }) => Effect.fail(new UsageError({ detail: `--folder: ${message}` }))
      })
    )
).pipe(
  Command.withDescription(
    "Simulate a push service for browsers on this machine: check and answer messages as the real ones do, and print what they say"
  ),
  Command.withShortDescription("Simulate a push service for browsers on this machine")
)
