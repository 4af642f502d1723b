import * as Result from "effect/Result"
import * as Encoder from "../../src/push/apns/notification/Encoder.ts"
import * as Fit from "../../src/push/apns/notification/Fit.ts"
import * as Notification from "../../src/push/apns/notification/Notification.ts"
import { table } from "../../src/push/apns/notification/PushType.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"
import type { Random } from "../support/Random.ts"
import * as Strange from "../support/strange.ts"

/** Options as a program without types may give them. */
type Loose = Readonly<Record<string, unknown>>

/** Makers, and options that they are meant to get. */
const makers = {
  alert: [
    Notification.alert,
    { title: "Order 42", body: "Shipped", badge: 0, sound: "default", threadId: "a", data: { order: 42 } }
  ],
  background: [Notification.background, { data: { order: 42 } }],
  liveActivityUpdate: [
    Notification.liveActivityUpdate,
    { timestamp: 1764000000, contentState: { home: 1 }, staleDate: 1764000600 }
  ],
  liveActivityStart: [
    Notification.liveActivityStart,
    {
      timestamp: 1764000000,
      contentState: { home: 1 },
      attributesType: "Match",
      attributes: { id: "a" },
      alert: { title: "a", body: "b" }
    }
  ],
  voip: [Notification.voip, { data: { call: "a" } }],
  mdm: [Notification.mdm, { pushMagic: "a" }],
  fileProvider: [Notification.fileProvider, { containerIdentifier: "a" }]
} satisfies Readonly<Record<string, readonly [make: (options: never) => Notification.Notification, options: Loose]>>

const names = Object.keys(makers) as ReadonlyArray<keyof typeof makers>

const make = (name: keyof typeof makers, options: Loose): Notification.Notification =>
  (makers[name][0] as (options: Loose) => Notification.Notification)(options)

const alert = makers.alert[1]

const common = { topic: "com.example.app", priority: 10, expiration: 32503680000, collapseId: "order-42" }

const anything = (random: Random, size: number): unknown => {
  if (random.chance(0.1)) return Strange.nested(random.below(10_000))
  return random.chance(0.5) ? Hostile.text(random, size) : JSON.parse(Hostile.json(random, size))
}

/** Some fields missing, some replaced, one added; nested ones too. */
const bend = (random: Random, size: number, options: Loose): Loose => ({
  ...Object.fromEntries(
    Object.entries(options).filter(() => random.chance(0.95)).map(([key, value]) => [
      key,
      random.chance(0.1)
        ? anything(random, size)
        : typeof value === "object" && value !== null
        ? bend(random, size, value as Loose)
        : value
    ])
  ),
  ...(random.chance(0.2) ? { [Hostile.text(random, 10)]: anything(random, size) } : undefined)
})

interface Input {
  readonly maker: keyof typeof makers
  readonly options: Loose
}

const check = (encoded: Result.Result<Encoder.Encoded, { readonly message: string }>, limit: number): void => {
  if (Result.isFailure(encoded)) return Fuzz.checkError(encoded.failure)
  const { body, headers } = encoded.success
  if (body.length > limit) throw new Error(`${body.length} bytes`)
  JSON.parse(Buffer.from(body).toString())
  for (const [name, value] of headers) {
    // a collapse id is any text
    if (name !== "apns-collapse-id" && !/^[\x21-\x7e]+$/.test(value)) {
      throw new Error(`${name}: ${JSON.stringify(value)}`)
    }
  }
}

const filled = (text: string): Input => ({ maker: "alert", options: { ...common, ...alert, body: text } })

export const target = Fuzz.make<Input>({
  name: "notification makers",
  about: "notifications that a program without types creates from user input",
  rounds: 1000,
  make: (random, size) => {
    const maker = random.pick(names)
    return { maker, options: bend(random, size, { ...common, ...makers[maker][1] }) }
  },
  feed: ({ maker, options }) => {
    const made = make(maker, options)
    check(Encoder.encode(made), 5120)
    check(Encoder.encodeBroadcast(made), Encoder.broadcastLimit)
    const fitted = Fit.fit(made)
    if (Result.isFailure(fitted)) return fitted
    const encoded = Encoder.encode(fitted.success)
    return check(encoded, table[fitted.success.pushType].limit)
  },
  grow: [
    ...Hostile.runs.flatMap((run) => [
      (size: number) => filled(Hostile.fill(run, size)),
      (size: number): Input => ({ maker: "alert", options: { ...alert, topic: Hostile.fill(run, size) } }),
      (size: number): Input => ({ maker: "alert", options: { ...alert, collapseId: Hostile.fill(run, size) } }),
      (size: number): Input => ({
        maker: "alert",
        options: { ...alert, data: { [Hostile.fill(run, size)]: 1 } }
      })
    ]),
    (size) => filled(Hostile.fill("e\u0301", size)),
    (size) => filled(Hostile.fill("👨‍👩‍👧‍👦", size))
  ]
})
