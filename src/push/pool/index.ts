/** A pool of connections to a push service, whichever it is. */
export type { Authorization, Authorizer } from "./Authorizer.ts"
export * as InFlight from "./InFlight.ts"
export * as Pool from "./Pool.ts"
export * as Provider from "./Provider.ts"
