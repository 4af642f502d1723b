/**
 * `backq apns-simulator`: simulates APNs on this machine and prints every push.
 * So a sender can be tried without Apple, a device or an account.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { clip, safeLine } from "../../internal/text.ts"
import { type Endpoint, Reason } from "../../push/apns/index.ts"
import { ApnsSimulator, Key, Script } from "../../testing/apns/index.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { print, printJson, whileRead } from "../output.ts"
import { Shutdown } from "../shutdown.ts"
import { program, quoted } from "../thisProgram.ts"

// -----------------------------------------------------------------------------
// Flags
// -----------------------------------------------------------------------------

const parseRefusal = (text: string): Option.Option<Script.Rule> => {
  const [reason, share = "1", ...rest] = text.split("=")
  const part = /^(?:\d+(?:\.\d+)?|\.\d+)$/.test(share) ? Number(share) : NaN
  return Reason.isReason(reason) && part >= 0 && part <= 1 && rest.length === 0
    ? Option.some({ do: Script.refuse(reason), share: part })
    : Option.none()
}

const config = {
  host: Flag.String("host").pipe(
    Flag.withDescription("The address to listen on. Default: 127.0.0.1"),
    Flag.withDefault("127.0.0.1")
  ),
  port: Flags.integer("port", 0).pipe(
    Flag.filter((port) => port <= 65_535, () => "a port from 0 to 65535"),
    Flag.withDescription("The port to listen on; 0 picks a free port. Default: 2197"),
    Flag.withDefault(2197)
  ),
  folder: Flag.String("folder").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription(
      "The folder for its CA certificate and a key; created if its parent exists. Default: a temporary folder, removed at the end"
    ),
    Flags.optional
  ),
  environment: Flag.Literals("environment", ["sandbox", "production"]).pipe(
    Flag.withDescription("Which of Apple's environments it simulates. Default: sandbox"),
    Flag.withDefault("sandbox")
  ),
  dead: Flag.String("dead").pipe(
    Flag.withMetavar("TOKEN"),
    Flag.withDescription("A device token that is dead (410 Unregistered); can be repeated"),
    Flags.repeated
  ),
  refuse: Flag.String("refuse").pipe(
    Flag.withMetavar("REASON=SHARE"),
    Flag.filterMap(parseRefusal, () => "one of Apple's reasons and a share of the pushes, such as TooManyRequests=0.1"),
    Flag.withDescription(
      "Refuse a share of the pushes with one of Apple's reasons: TooManyRequests=0.1; can be repeated"
    ),
    Flags.repeated
  ),
  delay: Flags.duration("delay").pipe(
    Flag.withDescription("The delay before each answer. Default: none"),
    Flags.optional
  ),
  goawayEvery: Flags.integer("goaway-every", 1).pipe(
    Flag.withDescription("Close each connection with a GOAWAY after this many pushes. Default: never"),
    Flags.optional
  ),
  seed: Flags.integer("seed", 0).pipe(
    Flag.withDescription("The seed that selects which pushes are refused. Default: 0"),
    Flag.withDefault(0)
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("Print one JSON object per line: first its address, then each push"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}

interface ScriptFlags {
  readonly dead: ReadonlyArray<string>
  readonly delay: Duration.Duration | undefined
  readonly goawayEvery: number | undefined
  readonly refuse: ReadonlyArray<Script.Rule>
  readonly seed: number
}

const scriptOf = ({ dead, delay, goawayEvery, refuse, seed }: ScriptFlags, now: number): Script.Script => ({
  seed,
  dead: Object.fromEntries(dead.map((token) => [token, { since: now }])),
  rules: refuse,
  delay,
  ...(goawayEvery === undefined ? {} : { goaway: { everyPushes: goawayEvery } })
})

// -----------------------------------------------------------------------------
// Output
// -----------------------------------------------------------------------------

/** Its address, and what a client needs to push to it. */
interface Place {
  readonly host: string
  readonly port: number
  readonly environment: Endpoint.Environment
  /** The path of its CA certificate. */
  readonly ca: string
  /** The path of a key. */
  readonly key: string
  readonly keyId: string
  readonly teamId: string
}

const exampleToken = "a1".repeat(32)

const authority = ({ host, port }: Place): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

const introduce = (place: Place, program: string): string =>
  `APNs simulator (${place.environment}) on https://${authority(place)}

CA certificate  ${place.ca}
key             ${place.key}
                key id ${place.keyId}, team id ${place.teamId}; it accepts the tokens of other keys, too

Push to it:
  export BACKQ_APNS_HOST=${place.host} BACKQ_APNS_PORT=${place.port} BACKQ_APNS_CA=${quoted(place.ca)} \\
    BACKQ_APNS_KEY=${quoted(place.key)} BACKQ_APNS_TEAM_ID=${place.teamId} \\
    BACKQ_APNS_TOPIC=com.example.app BACKQ_APNS_ENVIRONMENT=${place.environment}
  ${program} push apns --body hello --token ${exampleToken}

Ctrl-C ends it.
`

const time = (millis: number): string => DateTime.formatIso(DateTime.makeUnsafe(millis)).slice(11, 23)

const clipToken = (target: string): string => target.length > 16 ? `${target.slice(0, 16)}…` : target || "no token"

/** A push as one line of text. */
const format = ({ at, body, headers, reason, status, target }: ApnsSimulator.Push): string =>
  [
    time(at),
    reason === undefined ? String(status ?? "no answer") : `${status} ${reason}`,
    clipToken(target),
    headers["apns-topic"] ?? "no topic",
    headers["apns-push-type"] ?? "alert",
    clip(safeLine(body), 200)
  ].join("  ")

/** A push as JSON, without the sender's provider token. */
const toJson = ({ headers, ...push }: ApnsSimulator.Push) => {
  const { authorization: _, ...others } = headers
  return { ...push, headers: others }
}

// -----------------------------------------------------------------------------
// The command
// -----------------------------------------------------------------------------

const write = Effect.fnUntraced(function*(folder: string | undefined, ca: string, key: Key.Key) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const at = folder ?? (yield* fs.makeTempDirectoryScoped({ prefix: "backq-apns-" }))
  // not recursive: below /proc Node.js would never return
  yield* fs.makeDirectory(at).pipe(
    Effect.catchIf(({ reason }) => reason._tag === "AlreadyExists", () => Effect.void)
  )
  const paths = { ca: path.resolve(at, "ca.pem"), key: path.resolve(at, `AuthKey_${key.keyId}.p8`) }
  yield* fs.writeFileString(paths.ca, ca)
  yield* fs.writeFileString(paths.key, Redacted.value(key.key), { mode: 0o600 })
  return paths
})

/** `backq apns-simulator`. */
export const apnsSimulator = Command.make(
  "apns-simulator",
  config,
  ({ environment, folder, host, json, port, ...asked }) =>
    Effect.gen(function*() {
      const { asked: stopped } = yield* Shutdown
      const now = DateTime.toEpochMillis(yield* DateTime.now)
      const key = yield* Key.makeKey()
      const simulator = yield* ApnsSimulator.make({
        host,
        port,
        environment,
        script: scriptOf(asked, now),
        record: false
      })
      const paths = yield* write(folder, simulator.ca, key)
      const { keyId, teamId } = key
      const place: Place = { host, port: simulator.port, environment, ...paths, keyId, teamId }
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
    "Simulate APNs on this machine: check and answer pushes as Apple does, print them, and deliver none"
  ),
  Command.withShortDescription("Simulate APNs on this machine")
)
