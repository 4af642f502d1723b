// limited.ts
import { Effect, Layer, Schema } from "effect"
import { RateLimiter } from "effect/persistence"
import { Job, Worker } from "../../src/index.ts"

export const Charge = Job.make("charge", { payload: Schema.Struct({ invoice: Schema.String }) })

/** At most 100 charges a minute in this process. */
export const handler = Worker.handler(Charge, ({ invoice }) =>
  Effect.gen(function*() {
    const limited = yield* RateLimiter.makeWithRateLimiter
    const charge = Effect.log(`charging ${invoice}`)
    yield* limited({ key: "charges", window: "1 minute", limit: 100, onExceeded: "delay" })(charge)
  }))

export const limiter = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))
