/** The layer of a broker. It opens and closes both services together. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Broker } from "../../Broker.ts"
import { Inspector, type Services } from "../../Inspector.ts"

export const layer = <E, R>(
  make: Effect.Effect<Services, E, R>
): Layer.Layer<Broker | Inspector, E, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(
    Effect.map(make, ({ broker, inspector }) => Context.add(Context.make(Broker, broker), Inspector, inspector))
  )
