/**
 * `backq fcm-simulator`: simulates Firebase Cloud Messaging on this machine and prints
 * every push. So a sender can be tried without Google, a device or an account.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { safeLine } from "../../internal/text.ts"
import { Account, FcmSimulator, Script } from "../../testing/fcm/index.ts"
import * as Flags from "../flags/flags.ts"
import * as Simulating from "../flags/simulating.ts"
import { quoted } from "../thisProgram.ts"

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

const behaviourOf = (code: string): Script.Behaviour | undefined => {
  const status = Object.hasOwn(errors, code) ? errors[code] : undefined
  return status === undefined ? undefined : Script.refuse(status, code)
}

const config = {
  host: Simulating.host,
  port: Simulating.port(2199),
  folder: Simulating.folder("its CA certificate and a service account"),
  project: Flag.String("project").pipe(
    Flag.withDescription("The id of its project. Default: test-project"),
    Flag.withDefault("test-project")
  ),
  dead: Flag.String("dead").pipe(
    Flag.withMetavar("TOKEN"),
    Flag.withDescription("A registration token that is dead (404 UNREGISTERED); can be repeated"),
    Flags.repeated
  ),
  refuse: Simulating.refuse({
    behaviourOf,
    expected: `one of ${Object.keys(errors).join(", ")} and a share of the pushes, such as UNAVAILABLE=0.1`,
    description: "Refuse a share of the pushes with one of Google's errors: UNAVAILABLE=0.1"
  }),
  delay: Simulating.delay,
  goawayEvery: Simulating.goawayEvery,
  seed: Simulating.seed("push"),
  json: Simulating.json("push")
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

const introduce = (place: Place, program: string): string =>
  `FCM simulator on https://${Simulating.authority(place)}

CA certificate   ${place.ca}
service account  ${place.account}
project          ${place.project}

Push to it:
  ${program} push fcm --title hello --token example-token --account ${quoted(place.account)} \\
    --host ${place.host} --port ${place.port} --ca ${quoted(place.ca)}

Ctrl-C ends it.
`

const clipTarget = (target: string): string => target.length > 24 ? `${target.slice(0, 24)}…` : target || "no target"

/** A push as one line of text. */
const format = ({ message, target, ...push }: FcmSimulator.Push): string =>
  Simulating.line(
    push,
    safeLine(clipTarget(target)),
    Simulating.excerpt(JSON.stringify(message) ?? "no message")
  )

// -----------------------------------------------------------------------------
// The command
// -----------------------------------------------------------------------------

/** `backq fcm-simulator`. */
export const fcmSimulator = Command.make(
  "fcm-simulator",
  config,
  ({ dead, delay, folder, goawayEvery, host, json, port, project, refuse, seed }) =>
    Simulating.run({
      json,
      introduce,
      format,
      toJson: (push) => push,
      start: Effect.gen(function*() {
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
        const account = Redacted.value(simulator.serviceAccount())
        const paths = yield* Simulating.writeFiles(folder, "backq-fcm-", {
          ca: { name: "ca.pem", content: simulator.ca },
          account: { name: "service-account.json", content: account, mode: 0o600 }
        })
        const place: Place = { host, port: simulator.port, project, ...paths }
        return { place, changes: simulator.changes }
      })
    })
).pipe(
  Command.withDescription(
    "Simulate FCM on this machine: issue access tokens, check and answer pushes as Google does, print them, and deliver none"
  ),
  Command.withShortDescription("Simulate FCM on this machine")
)
