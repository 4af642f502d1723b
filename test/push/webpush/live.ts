/** A `WebPush` that pushes to simulators on this machine. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { VapidKey, WebPush } from "../../../src/push/webpush/index.ts"
import { Certificate, Personality, WebPushSimulator } from "../../../src/testing/webpush/index.ts"

type Simulator = WebPushSimulator.WebPushSimulator["Service"]

/** Simulators whose certificates come from one authority. */
export const simulators = Effect.fnUntraced(function*(
  ...all: ReadonlyArray<WebPushSimulator.Options>
): Effect.fn.Return<ReadonlyArray<Simulator>, WebPushSimulator.ListenError, Scope.Scope> {
  const authority = yield* Certificate.makeAuthority
  const names = [...Object.values(Personality.hosts), "127.0.0.1", ...all.flatMap(({ name }) => name ?? [])]
  const identity = yield* authority.issue({ names })
  const tls = { ...identity, ca: authority.cert }
  return yield* Effect.forEach(all, (options) => WebPushSimulator.make({ tls, ...options }))
})

export const pair = VapidKey.generate

/** The service for these simulators, with a key, or with keys of one's own. */
export const webPush = Effect.fnUntraced(function*(
  targets: ReadonlyArray<Simulator>,
  options: Partial<WebPush.Options> = {},
  network: Layer.Layer<never> = WebPushSimulator.layerLoopback
) {
  const { privateKey } = yield* pair
  const layer = WebPush.layer({
    keys: { privateKey: Redacted.make(Redacted.value(privateKey)) },
    subject: "mailto:ops@example.com",
    allow: targets.map(({ allow }) => allow),
    ...(targets[0] === undefined ? {} : { ca: targets[0].ca }),
    ...options
  })
  return yield* Effect.map(Layer.build(Layer.provide(layer, network)), (context) => context)
})
