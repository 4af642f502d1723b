/**
 * The signed tokens that authorize messages: one for each origin and key.
 *
 * A token is valid for 12 hours, half of what RFC 8292 allows, so that a clock that is
 * hours off does no harm. It is replaced after 6 hours. If a service refuses a token,
 * there is one new token, and then at most one an hour, as Apple asks for.
 *
 * A token outlives the connections of its origin. Those of the last origins are kept.
 */
import * as Clock from "effect/Clock"
import type * as Signature from "effect/crypto/Signature"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Semaphore from "effect/Semaphore"
import { Es256 } from "../../credential/index.ts"
import type { Authorization, Authorizer } from "../../pool/index.ts"
import type { VapidKey } from "./VapidKey.ts"

const hour = 3_600_000

/** How long a token is valid, and after which time it is replaced, in milliseconds. */
export const validMillis = 12 * hour
export const useMillis = 6 * hour

/** A refused token is replaced at most this often. */
const renewMillis = hour

/** A clock that was set back by more makes the token one from the future. */
const skewMillis = 300_000

/** The tokens of this many origins and keys are kept. */
const maxTokens = 1000

/** The authorizers of all origins of one program. */
export interface Tokens {
  /** The authorizer of a key for an origin, such as `https://fcm.googleapis.com`. */
  readonly of: (origin: string, key: VapidKey) => Authorizer
}

type Sign = (claims: object) => Effect.Effect<Redacted.Redacted>

const isFresh = ({ from, until }: Authorization, now: number): boolean => now < until && now > from

const makeAuthorizer = (sign: Sign, origin: string, subject: string, publicKey: string): Authorizer => {
  let token: Authorization | undefined
  let renewedAt: number | undefined

  const makeNew = Effect.fnUntraced(function*(now: number) {
    const jwt = yield* sign({ aud: origin, exp: Math.floor((now + validMillis) / 1000), sub: subject })
    return token = {
      value: Redacted.make(`vapid t=${Redacted.value(jwt)}, k=${publicKey}`, { label: "authorization" }),
      generation: (token?.generation ?? 0) + 1,
      from: now - skewMillis,
      until: now + useMillis
    }
  })
  const isRenewable = (now: number) => renewedAt === undefined || Math.abs(now - renewedAt) >= renewMillis

  const alone = Semaphore.makeUnsafe(1).withPermit
  return {
    current: alone(
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => token !== undefined && isFresh(token, now) ? Effect.succeed(token) : makeNew(now)
      )
    ),
    expired: (generation) =>
      alone(Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (token !== undefined && (token.generation !== generation || !isRenewable(now))) return Effect.succeed(token)
        renewedAt = now
        return makeNew(now)
      }))
  }
}

/** Makes the tokens with a contact that was checked. */
export const make = Effect.fnUntraced(function*(
  subject: string,
  keys: ReadonlyArray<VapidKey>
): Effect.fn.Return<Tokens, never, Signature.Signature> {
  const signers = new Map<string, Sign>()
  for (const { pem, publicKey } of keys) {
    // The key was read from these bytes before.
    const key = yield* Effect.orDie(Es256.readKey(Redacted.value(pem)))
    signers.set(publicKey, yield* Es256.signer(key, { typ: "JWT", alg: "ES256" }, "VAPID token"))
  }
  const known = new Map<string, Authorizer>()
  return {
    of: (origin, { publicKey }) => {
      const name = `${origin} ${publicKey}`
      const authorizer = known.get(name) ?? makeAuthorizer(signers.get(publicKey)!, origin, subject, publicKey)
      known.delete(name)
      if (known.size >= maxTokens) known.delete(known.keys().next().value!)
      known.set(name, authorizer)
      return authorizer
    }
  }
}, Effect.provide(Es256.layer))
