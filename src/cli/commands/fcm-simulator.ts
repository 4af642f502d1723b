/**
 * `backq fcm-simulator`: simulates Firebase Cloud Messaging on this machine and prints
 * every push. So a sender can be tried without Google, a device or an account.
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
import { Account, FcmSimulator, Script } from "../../testing/fcm/index.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { print, printJson, whileRead } from "../output.ts"
import { Shutdown } from "../shutdown.ts"
import { program, quoted } from "../thisProgram.ts"

// -----------------------------------------------------------------------------
// Flags
// -----------------------------------------------------------------------------

/** What a share of the pushes can be refused with: the code of Google's error, and its status. */
const errors: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: 400,
  THIRD_PARTY_AUTH_ERROR: 401,
  SENDER_ID_MISMATCH: 403,
  UNREGISTERED: 404,
  QUOTA_EXCEEDED: 429,
  INTERNAL: 500,
  UNAVAILABLE: 503
}

type Rule = NonNullable<Script.Script["rules"]>[number]

const parseRefusal = (text: string): Option.Option<Rule> => {
  const [reason = "", share = "1", ...rest] = text.split("=")
  const part = /^(?:\d+(?:\.\d+)?|\.\d+)$/.test(share) ? Number(share) : NaN
  const status = Object.hasOwn(errors, reason) ? errors[reason] : undefined
  return status !== undefined && part >= 0 && part <= 1 && rest.length === 0
    ? Option.some({ do: Script.refuse(status, reason), share: part })
    : Option.none()
}

const config = {
  host: Flag.String("host").pipe(
    Flag.withDescription("The address to listen on. Default: 127.0.0.1"),
    Flag.withDefault("127.0.0.1")
  ),
  port: Flags.integer("port", 0).pipe(
    Flag.filter((port) => port <= 65_535, () => "a port from 0 to 65535"),
    Flag.withDescription("The port to listen on; 0 picks a free port. Default: 2199"),
    Flag.withDefault(2199)
  ),
  folder: Flag.String("folder").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription(
      "The folder for its CA certificate and a service account; created if its parent exists. Default: a temporary folder, removed at the end"
    ),
    Flags.optional
  ),
  project: Flag.String("project").pipe(
    Flag.withDescription("The id of its project. Default: test-project"),
    Flag.withDefault("test-project")
  ),
  dead: Flag.String("dead").pipe(
    Flag.withMetavar("TOKEN"),
    Flag.withDescription("A registration token that is dead (404 UNREGISTERED); can be repeated"),
    Flags.repeated
  ),
  refuse: Flag.String("refuse").pipe(
    Flag.withMetavar("REASON=SHARE"),
    Flag.filterMap(
      parseRefusal,
      () => `one of ${Object.keys(errors).join(", ")} and a share of the pushes, such as UNAVAILABLE=0.1`
    ),
    Flag.withDescription("Refuse a share of the pushes with one of Google's errors: UNAVAILABLE=0.1; can be repeated"),
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

// -----------------------------------------------------------------------------
// Output
// -----------------------------------------------------------------------------

/** Its address, and what a client needs to push to it. */
interface Place {
  readonly host: string
  readonly port: number
  readonly project: string
  /** The paths of its CA certificate and of a service account. */
  readonly ca: string
  readonly account: string
}

const authority = ({ host, port }: Place): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

const introduce = (place: Place, program: string): string =>
  `FCM simulator on https://${authority(place)}

CA certificate   ${place.ca}
service account  ${place.account}
project          ${place.project}

Push to it:
  ${program} push fcm --title hello --token example-token --account ${quoted(place.account)} \\
    --host ${place.host} --port ${place.port} --ca ${quoted(place.ca)}

Ctrl-C ends it.
`

const time = (millis: number): string => DateTime.formatIso(DateTime.makeUnsafe(millis)).slice(11, 23)

const clipTarget = (target: string): string => target.length > 24 ? `${target.slice(0, 24)}…` : target || "no target"

/** A push as one line of text. */
const format = ({ at, message, reason, status, target }: FcmSimulator.Push): string =>
  [
    time(at),
    reason === undefined ? String(status ?? "no answer") : `${status} ${reason}`,
    safeLine(clipTarget(target)),
    clip(safeLine(JSON.stringify(message) ?? "no message"), 200)
  ].join("  ")

// -----------------------------------------------------------------------------
// The command
// -----------------------------------------------------------------------------

const write = Effect.fnUntraced(function*(folder: string | undefined, ca: string, account: Redacted.Redacted) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const at = folder ?? (yield* fs.makeTempDirectoryScoped({ prefix: "backq-fcm-" }))
  // not recursive: below /proc Node.js would never return
  yield* fs.makeDirectory(at).pipe(
    Effect.catchIf(({ reason }) => reason._tag === "AlreadyExists", () => Effect.void)
  )
  const paths = { ca: path.resolve(at, "ca.pem"), account: path.resolve(at, "service-account.json") }
  yield* fs.writeFileString(paths.ca, ca)
  yield* fs.writeFileString(paths.account, Redacted.value(account), { mode: 0o600 })
  return paths
})

/** `backq fcm-simulator`. */
export const fcmSimulator = Command.make(
  "fcm-simulator",
  config,
  ({ dead, delay, folder, goawayEvery, host, json, port, project, refuse, seed }) =>
    Effect.gen(function*() {
      const { asked: stopped } = yield* Shutdown
      const simulator = yield* FcmSimulator.make({
        host,
        port,
        accounts: [yield* Account.makeAccount(project)],
        script: {
          seed,
          dead,
          rules: refuse,
          delay,
          ...(goawayEvery === undefined ? undefined : { goaway: { everyPushes: goawayEvery } })
        },
        record: false
      })
      const paths = yield* write(folder, simulator.ca, simulator.serviceAccount())
      const place: Place = { host, port: simulator.port, project, ...paths }
      const shown = Stream.runForEach(simulator.changes, (push) => json ? printJson(push) : print(format(push)))
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
    "Simulate FCM on this machine: issue access tokens, check and answer pushes as Google does, print them, and deliver none"
  ),
  Command.withShortDescription("Simulate FCM on this machine")
)
