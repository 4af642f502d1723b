/**
 * `backq webpush-simulator`: simulates a push service for browsers on this machine and
 * prints every message, decrypted. So a sender can be tried without a browser.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { VapidKey } from "../../push/webpush/index.ts"
import { type Personality, Script, WebPushSimulator } from "../../testing/webpush/index.ts"
import * as Flags from "../flags/flags.ts"
import * as Simulating from "../flags/simulating.ts"
import { quoted } from "../thisProgram.ts"

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

const isRefusal = (reason: string): reason is Personality.Refusal => Object.hasOwn(able, reason)

const config = {
  host: Simulating.host,
  port: Simulating.port(2198),
  folder: Simulating.folder("its CA certificate, a VAPID key and the subscriptions"),
  personality: Flag.Literals("personality", ["mozilla", "google", "apple", "wns", "plain"]).pipe(
    Flag.withDescription("Which push service it plays; plain: one with HTTP/1.1 alone. Default: mozilla"),
    Flag.withDefault("mozilla")
  ),
  browsers: Flags.integer("browsers", 1).pipe(
    Flag.withDescription("How many browsers have subscribed. Default: 1"),
    Flag.withDefault(1)
  ),
  refuse: Simulating.refuse({
    behaviourOf: (reason) => isRefusal(reason) ? Script.refuse(reason) : undefined,
    expected: `one of ${Object.keys(able).join(", ")} and a share of the messages, such as Throttled=0.1`,
    description: "Refuse a share of the messages: Throttled=0.1"
  }),
  delay: Simulating.delay,
  seed: Simulating.seed("message"),
  json: Simulating.json("message")
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

/** A message as one line of text. */
const format = ({ headers, target, text, ...push }: WebPushSimulator.Push): string =>
  Simulating.line(
    push,
    target || "no subscription",
    `ttl ${headers.ttl ?? "missing"}`,
    headers.urgency ?? "normal",
    text === undefined ? "no text" : Simulating.excerpt(text)
  )

/** A message as JSON, without the sender's token. */
const toJson = ({ body, headers, ...push }: WebPushSimulator.Push) => {
  const { authorization: _, ...others } = headers
  return { ...push, bytes: body.length, headers: others }
}

// -----------------------------------------------------------------------------
// The command
// -----------------------------------------------------------------------------

/** `backq webpush-simulator`. */
export const webPushSimulator = Command.make(
  "webpush-simulator",
  config,
  ({ browsers, delay, folder, host, json, personality, port, refuse, seed }) =>
    Simulating.run({
      json,
      introduce,
      format,
      toJson,
      start: Effect.gen(function*() {
        const { privateKey, publicKey } = yield* VapidKey.generate
        const { allow, ca, changes, origin, subscribe } = yield* WebPushSimulator.make({
          host,
          port,
          personality,
          name: "localhost",
          script: { seed, rules: refuse, ...(delay === undefined ? undefined : { delay }) },
          record: false
        })
        const subscribed = yield* Effect.replicateEffect(subscribe({ applicationServerKey: publicKey }), browsers)
        const key = JSON.stringify({ publicKey, privateKey: Redacted.value(privateKey) })
        const subscriptions = JSON.stringify(subscribed, undefined, 2)
        const paths = yield* Simulating.writeFiles(folder, "backq-webpush-", {
          ca: { name: "ca.pem", content: ca, mode: 0o600 },
          key: { name: "vapid.json", content: `${key}\n`, mode: 0o600 },
          subscriptions: { name: "subscriptions.json", content: `${subscriptions}\n`, mode: 0o600 }
        })
        const place: Place = { personality, origin, allow, address: host, ...paths }
        return { place, changes }
      })
    })
).pipe(
  Command.withDescription(
    "Simulate a push service for browsers on this machine: check and answer messages as the real ones do, and print what they say"
  ),
  Command.withShortDescription("Simulate a push service for browsers on this machine")
)
