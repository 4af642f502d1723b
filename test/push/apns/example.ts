import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ApnsPayload, Fit, Notification } from "../../../src/push/apns/index.ts"

export const shipped = Notification.alert({
  topic: "com.example.app",
  title: "Order 42",
  body: "Your order was shipped",
  badge: 0,
  sound: "default",
  collapseId: "order-42",
  data: { order: 42 }
})

/** The JSON of a push job. Fails if Apple would refuse the notification. */
export const job = (tokens: readonly [string, ...Array<string>]) =>
  Schema.encodeEffect(ApnsPayload.ApnsPayload)({ tokens, notification: shipped })

export const score = Effect.gen(function*() {
  const now = yield* DateTime.now
  return Notification.liveActivityUpdate({
    topic: "com.example.app",
    timestamp: now,
    staleDate: DateTime.add(now, { minutes: 15 }),
    contentState: { home: 1, away: 0 }
  })
})

/** Shortens the body if necessary, and changes nothing else. */
export const message = (text: string) =>
  Effect.fromResult(Fit.fit(Notification.alert({ title: "Message", body: text })))
