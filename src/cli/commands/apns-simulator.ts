/**
 * `backq apns-simulator`: simulates APNs on this machine and prints every push.
 * So a sender can be tried without Apple, a device or an account.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { type Endpoint, Reason } from "../../push/apns/index.ts"
import { ApnsSimulator, Key, Script } from "../../testing/apns/index.ts"
import * as Flags from "../flags/flags.ts"
import * as Simulating from "../flags/simulating.ts"
import { quoted } from "../thisProgram.ts"

// -----------------------------------------------------------------------------
// Flags
// -----------------------------------------------------------------------------

const config = {
  host: Simulating.host,
  port: Simulating.port(2197),
  folder: Simulating.folder("its CA certificate and a key"),
  environment: Flag.Literals("environment", ["sandbox", "production"]).pipe(
    Flag.withDescription("Which of Apple's environments it simulates. Default: sandbox"),
    Flag.withDefault("sandbox")
  ),
  dead: Flag.String("dead").pipe(
    Flag.withMetavar("TOKEN"),
    Flag.withDescription("A device token that is dead (410 Unregistered); can be repeated"),
    Flags.repeated
  ),
  refuse: Simulating.refuse({
    behaviourOf: (reason) => Reason.isReason(reason) ? Script.refuse(reason) : undefined,
    expected: "one of Apple's reasons and a share of the pushes, such as TooManyRequests=0.1",
    description: "Refuse a share of the pushes with one of Apple's reasons: TooManyRequests=0.1"
  }),
  delay: Simulating.delay,
  goawayEvery: Simulating.goawayEvery,
  seed: Simulating.seed("push"),
  json: Simulating.json("push")
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

const introduce = (place: Place, program: string): string =>
  `APNs simulator (${place.environment}) on https://${Simulating.authority(place)}

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

const clipToken = (target: string): string => target.length > 16 ? `${target.slice(0, 16)}…` : target || "no token"

/** A push as one line of text. */
const format = ({ body, headers, target, ...push }: ApnsSimulator.Push): string =>
  Simulating.line(
    push,
    clipToken(target),
    headers["apns-topic"] ?? "no topic",
    headers["apns-push-type"] ?? "alert",
    Simulating.excerpt(body)
  )

/** A push as JSON, without the sender's provider token. */
const toJson = ({ headers, ...push }: ApnsSimulator.Push) => {
  const { authorization: _, ...others } = headers
  return { ...push, headers: others }
}

// -----------------------------------------------------------------------------
// The command
// -----------------------------------------------------------------------------

/** `backq apns-simulator`. */
export const apnsSimulator = Command.make(
  "apns-simulator",
  config,
  ({ environment, folder, host, json, port, ...asked }) =>
    Simulating.run({
      json,
      introduce,
      format,
      toJson,
      start: Effect.gen(function*() {
        const now = DateTime.toEpochMillis(yield* DateTime.now)
        const { key, keyId, teamId } = yield* Key.makeKey()
        const { ca, changes, port: bound } = yield* ApnsSimulator.make({
          host,
          port,
          environment,
          script: scriptOf(asked, now),
          record: false
        })
        const paths = yield* Simulating.writeFiles(folder, "backq-apns-", {
          ca: { name: "ca.pem", content: ca },
          key: { name: `AuthKey_${keyId}.p8`, content: Redacted.value(key), mode: 0o600 }
        })
        const place: Place = { host, port: bound, environment, ...paths, keyId, teamId }
        return { place, changes }
      })
    })
).pipe(
  Command.withDescription(
    "Simulate APNs on this machine: check and answer pushes as Apple does, print them, and deliver none"
  ),
  Command.withShortDescription("Simulate APNs on this machine")
)
