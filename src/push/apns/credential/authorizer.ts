/** The authorizer of a key for the pool of connections. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Authorization, Authorizer } from "../../pool/index.ts"
import * as ProviderToken from "./ProviderToken.ts"

const authorization = ({ generation, iat, jwt, until }: ProviderToken.Token): Authorization => ({
  value: Redacted.make(`bearer ${Redacted.value(jwt)}`, { label: "authorization" }),
  generation,
  from: iat * 1000 - ProviderToken.minIntervalMillis,
  until
})

/** Authorizes requests with the provider tokens of a key. A certificate has none. */
export const authorizerOf = (token: ProviderToken.ProviderToken | undefined): Authorizer | undefined =>
  token && {
    current: Effect.map(token.current, authorization),
    expired: (generation) => Effect.map(token.expired(generation), authorization)
  }
