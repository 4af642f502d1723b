import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ExactNumbers from "../../src/internal/exactNumbers.ts"
import { ApnsPayload } from "../../src/push/apns/notification/ApnsPayload.ts"
import * as Encoder from "../../src/push/apns/notification/Encoder.ts"
import { fit } from "../../src/push/apns/notification/Fit.ts"
import * as Notification from "../../src/push/apns/notification/Notification.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"

const decode = Schema.decodeUnknownResult(Schema.toCodecJson(ApnsPayload))

/** JSON in one order of keys, every number with all of its digits. */
const canonical = (value: unknown): string =>
  typeof value !== "object" || value === null || ExactNumbers.isRawNumber(value)
    ? JSON.stringify(value)
    : Array.isArray(value)
    ? `[${value.map(canonical).join(",")}]`
    : `{${Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}:${canonical(one)}`).sort().join(",")}}`

const text = ({ body }: Encoder.Encoded): string => new TextDecoder().decode(body)

const fields = { aps: { alert: { title: "Order 42", body: "Shipped" }, badge: 0, sound: "default" }, order: 42 }

/** The device receives the published notification. */
const feedJob = (payload: unknown) => {
  const job = decode({ tokens: ["00"], topic: "com.example.app", payload })
  if (Result.isFailure(job)) return
  const encoded = Encoder.encode(job.success.notification)
  if (Result.isFailure(encoded)) throw encoded.failure
  const sent = canonical(ExactNumbers.parse(text(encoded.success)))
  if (sent !== canonical(payload)) throw new Error(`sent ${sent}`)
}

/** The app's data replaces nothing. */
const feedData = (data: any) => {
  const notification = Notification.alert({ topic: "com.example.app", body: "ours", data })
  const fitted = fit(notification)
  for (const result of [Encoder.encode(notification), Result.flatMap(fitted, (fitted) => Encoder.encode(fitted))]) {
    if (Result.isFailure(result)) {
      if (result.failure.reason._tag !== "InvalidNotification") throw result.failure
      Fuzz.checkWords(result.failure.message)
    } else {
      const { aps } = JSON.parse(text(result.success))
      if (JSON.stringify(aps) !== `{"alert":{"body":"ours"}}`) throw new Error(`replaced by ${JSON.stringify(aps)}`)
    }
  }
}

export const target = Fuzz.make<string>({
  name: "notifications",
  about: "payloads and data of notifications, by every kind of push",
  rounds: 1500,
  make: (random, size) => random.chance(0.5) ? Hostile.jsonObject(random, size, fields) : Hostile.json(random, size),
  feed: (json) => {
    const parsed = Result.try(() => ExactNumbers.parse(json))
    // some of it is not JSON, and some is nested too deeply to be read with all digits
    if (Result.isFailure(parsed)) return
    feedJob(parsed.success)
    feedData(parsed.success)
  },
  grow: [
    ...Hostile.runs.flatMap((run) => [
      (size: number) => JSON.stringify({ ...fields, a: Hostile.fill(run, size) }),
      (size: number) => JSON.stringify({ aps: { alert: Hostile.fill(run, size) } }),
      (size: number) => JSON.stringify({ ...fields, [Hostile.fill(run, size)]: 1 })
    ]),
    (size) => JSON.stringify({ ...fields, a: Array.from({ length: size / 8 }, (_, i) => i) }),
    (size) =>
      JSON.stringify({ ...fields, ...Object.fromEntries(Array.from({ length: size / 8 }, (_, i) => [`a${i}`, i])) }),
    (size) => `{"aps":{"alert":"a"},"a":[${Hostile.fill("12345678901234567890,", size - (size % 21))}0]}`,
    (size) => `{"aps":{"alert":"a"},"a":${"9".repeat(size)}}`,
    (size) => `{"aps":{"alert":"a"},"a":${"[".repeat(size)}${"]".repeat(size)}}`
  ]
})
