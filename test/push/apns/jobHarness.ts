/** Push jobs on a broker in memory, and an APNs that answers as a test says. */
import { assert } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Broker from "../../../src/Broker.ts"
import type { Outcome } from "../../../src/Outcome.ts"
import * as Publisher from "../../../src/Publisher.ts"
import * as ApnsJob from "../../../src/push/apns/ApnsJob.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as TestApns from "../../../src/push/apns/TestApns.ts"
import * as TestBroker from "../../../src/testing/TestBroker.ts"

export const hello = Notification.alert({ body: "Hello" })

export const A = "aa".repeat(32)

export const B = "bb".repeat(32)

export const C = "cc".repeat(32)

/** Answers by token; what isn't named is accepted. */
export const answers = (byToken: Record<string, TestApns.Answer>): TestApns.Options => ({
  answer: ({ token }) => byToken[token] ?? TestApns.accept
})

export const world = (options: TestApns.Options = {}) => Layer.merge(TestBroker.layer, TestApns.layer(options))

export const publish = (tokens: ReadonlyArray<string>, options?: Publisher.PublishOptions) =>
  ApnsJob.publish(hello, tokens, options)

export const drain = (options?: ApnsJob.Options) => TestBroker.drain(ApnsJob.handler(options))

export const only = Effect.fnUntraced(function*(options?: ApnsJob.Options) {
  const outcomes = yield* drain(options)
  assert.lengthOf(outcomes, 1)
  return outcomes[0]!
})

/** What another language publishes, without saying when. */
export const putForeign = (payload: object, envelope: object = {}) =>
  Broker.Broker.use((broker) =>
    broker.put(
      "apns",
      Result.getOrThrow(
        Broker.putRequest(Buffer.from(JSON.stringify({ backq: 1, id: "from-php", job: "apns", payload, ...envelope })))
      )
    )
  )

export const tokensOf = (pushes: ReadonlyArray<{ readonly token: string }>) => pushes.map(({ token }) => token)

export const delayOf = (outcome: Outcome) => outcome._tag === "Retried" ? Duration.format(outcome.delay) : outcome._tag

export const captured = () => {
  const lines: Array<string> = []
  return {
    lines,
    layer: Logger.layer([Logger.make(({ logLevel, message }) => lines.push(`${logLevel}: ${String(message)}`))])
  }
}
