/** A pool of connections to any push service. */
export type { Authorization, Authorizer } from "./Authorizer.ts"
export * as InFlight from "./InFlight.ts"
export * as Pool from "./Pool.ts"
export * as Pools from "./Pools.ts"
export * as Provider from "./Provider.ts"
