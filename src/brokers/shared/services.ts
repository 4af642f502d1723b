/** The layer of a broker: both of its services, made together and closed together. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Broker } from "../../Broker.ts"
import { Inspector, type Services } from "../../Inspector.ts"

/** Provides both services. */
export const layer = <E>(make: Effect.Effect<Services, E, Scope.Scope>): Layer.Layer<Broker | Inspector, E> =>
  Layer.effectContext(
    Effect.map(make, ({ broker, inspector }) => Context.add(Context.make(Broker, broker), Inspector, inspector))
  )
