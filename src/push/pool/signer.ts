/**
 * Signs the requests of one credential. It caches the authorization, so that requests
 * do not wait for it, and the shared headers with the authorization.
 *
 * A signer serves one credential. The pool makes a new signer for a new credential and
 * ignores the old one.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Message } from "../../http2/index.ts"
import type { Authorization, Authorizer } from "./Authorizer.ts"
import type { Headers } from "./Provider.ts"
import type { Runtime } from "./runtime.ts"

/** The options of a signer. */
export interface Options<E> {
  /** `undefined` if the client certificate of the connection authorizes requests. */
  readonly authorizer: Authorizer<E> | undefined
  /** Whether the server may store the value of a shared header (HPACK). A stored value costs a byte. */
  readonly isRepeated: (name: string) => boolean
  /** Called when requests can be signed again. `isRefused`: with the authorization that the service calls expired. */
  readonly onReady: (isRefused: boolean) => void
  /** Called when the authorizer failed. The next call of `isReady` tries again. */
  readonly onFailed: (error: E) => void
}

/** Signs requests with the current authorization. */
export class Signer<E> {
  private authorization: Authorization | undefined
  private isRenewing = false
  private readonly options: Options<E>
  private readonly runtime: Runtime
  private readonly shared = new WeakMap<
    Headers,
    { readonly generation: number; readonly made: ReadonlyArray<Message.Header> }
  >()

  constructor(options: Options<E>, runtime: Runtime) {
    this.options = options
    this.runtime = runtime
  }

  /** The generation of the current authorization; 0 without one. */
  get generation(): number {
    return this.authorization?.generation ?? 0
  }

  /** Whether requests can be signed now. If not, `onReady` is called when they can. */
  get isReady(): boolean {
    const { authorizer } = this.options
    if (authorizer === undefined) return true
    const { authorization } = this
    const now = this.runtime.epochMillis()
    // An authorization from the future was made before the clock was set back.
    if (authorization !== undefined && now < authorization.until && now > authorization.from) return true
    this.renew(authorizer.current, 0)
    return false
  }

  /** The service says that this generation has expired. Returns whether requests can be sent again with another. */
  expire(generation: number): boolean {
    const { authorizer } = this.options
    if (authorizer === undefined) return false
    if (generation === this.authorization?.generation) {
      this.authorization = undefined
      this.renew(authorizer.expired(generation), generation)
    }
    return true
  }

  /** Adds the authorization to shared headers. */
  sign(headers: Headers): ReadonlyArray<Message.Header> {
    const { generation } = this
    const known = this.shared.get(headers)
    if (known !== undefined && known.generation === generation) return known.made
    const { isRepeated } = this.options
    const made: Array<Message.Header> = headers.map(([name, value]) => ({ name, value, index: isRepeated(name) }))
    if (this.authorization !== undefined) {
      made.push({ name: "authorization", value: Redacted.value(this.authorization.value), index: true })
    }
    this.shared.set(headers, { generation, made })
    return made
  }

  private renew(made: Effect.Effect<Authorization, E>, refused: number): void {
    if (this.isRenewing) return
    this.isRenewing = true
    this.runtime.fork(
      Effect.map(Effect.exit(made), (exit) => {
        this.isRenewing = false
        if (exit._tag === "Failure") return this.failed(exit.cause)
        this.authorization = exit.value
        this.options.onReady(exit.value.generation === refused)
      })
    )
  }

  private failed(cause: Cause.Cause<E>): void {
    const error = Cause.findErrorOption(cause)
    if (Option.isSome(error)) this.options.onFailed(error.value)
  }
}
