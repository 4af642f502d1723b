/**
 * Signs the requests of one credential: its provider token, kept at hand so
 * that no request waits for it, and the headers that requests have in common,
 * with the token in them.
 *
 * It is good for one credential only. What comes too late, after another one
 * has taken its place, is nobody's any more.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Header } from "../../http2/Connection.ts"
import * as ProviderToken from "../apns/credential/ProviderToken.ts"

/** Headers as they are, names in lower case. */
export type Headers = ReadonlyArray<readonly [name: string, value: string]>

// Values that come again and again cost a byte; those that differ from push to push are not remembered.
const isRemembered = (name: string): boolean => name !== "apns-collapse-id"

/** What a signer needs of the world. */
export interface Options {
  /** Signs for requests; none with a certificate. */
  readonly providerToken: ProviderToken.ProviderToken | undefined
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly fork: (effect: Effect.Effect<unknown>) => void
  /** Called when there is a token again, or when none can be made; `isRefused` says that it is one that Apple has called expired. */
  readonly onToken: (isRefused: boolean) => void
}

export class Signer {
  private token: ProviderToken.Token | undefined
  private isRenewing = false
  private readonly options: Options
  private readonly shared = new WeakMap<
    Headers,
    { readonly generation: number; readonly made: ReadonlyArray<Header> }
  >()

  constructor(options: Options) {
    this.options = options
  }

  /** Which token requests are signed with now; 0 without any. */
  get generation(): number {
    return this.token?.generation ?? 0
  }

  /** Can requests be signed? If not, `onToken` is called when they can. */
  get isReady(): boolean {
    const { now, providerToken } = this.options
    if (providerToken === undefined) return true
    const { token } = this
    const time = now()
    // a token of the future was made before the clock was corrected
    if (token !== undefined && time < token.until && time > token.iat * 1000 - ProviderToken.floor) return true
    this.renew(providerToken.current, 0)
    return false
  }

  /** Apple called the token of this generation expired. Says whether requests may be sent again, with another one. */
  expire(generation: number): boolean {
    const { providerToken } = this.options
    if (providerToken === undefined) return false
    if (generation === this.token?.generation) {
      this.token = undefined
      this.renew(providerToken.expired(generation), generation)
    }
    return true
  }

  /** Headers of requests, signed. */
  sign(headers: Headers): ReadonlyArray<Header> {
    const { generation } = this
    const known = this.shared.get(headers)
    if (known !== undefined && known.generation === generation) return known.made
    const made: Array<Header> = headers.map(([name, value]) => ({ name, value, index: isRemembered(name) }))
    if (this.token !== undefined) {
      made.push({ name: "authorization", value: `bearer ${Redacted.value(this.token.jwt)}`, index: true })
    }
    this.shared.set(headers, { generation, made })
    return made
  }

  private renew(made: Effect.Effect<ProviderToken.Token>, refused: number): void {
    if (this.isRenewing) return
    this.isRenewing = true
    this.options.fork(
      Effect.onExit(made, (exit) =>
        Effect.sync(() => {
          this.isRenewing = false
          if (exit._tag === "Failure") return
          this.token = exit.value
          this.options.onToken(exit.value.generation === refused)
        }))
    )
  }
}
