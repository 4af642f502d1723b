/**
 * Signs the requests of one credential: its authorization, kept at hand so that
 * no request waits for it, and the headers that requests have in common, with
 * the authorization among them.
 *
 * It is good for one credential only. What comes too late, after another one
 * has taken its place, is nobody's any more.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Message } from "../../http2/index.ts"
import type { Authorization, Authorizer } from "./Authorizer.ts"
import type { Headers } from "./Provider.ts"
import type { Runtime } from "./runtime.ts"

/** Whom and what a signer signs for. */
export interface Options {
  /** None where the connection itself says who sends. */
  readonly authorizer: Authorizer | undefined
  /** Which of the shared headers the server may remember: values that come again and again cost a byte. */
  readonly isRepeated: (name: string) => boolean
  /** Called when requests can be signed again; `isRefused` says that it is with what the service has called expired. */
  readonly onReady: (isRefused: boolean) => void
}

export class Signer {
  private authorization: Authorization | undefined
  private isRenewing = false
  private readonly options: Options
  private readonly runtime: Runtime
  private readonly shared = new WeakMap<
    Headers,
    { readonly generation: number; readonly made: ReadonlyArray<Message.Header> }
  >()

  constructor(options: Options, runtime: Runtime) {
    this.options = options
    this.runtime = runtime
  }

  /** Which authorization requests are signed with now; 0 without any. */
  get generation(): number {
    return this.authorization?.generation ?? 0
  }

  /** Can requests be signed? If not, `onReady` is called when they can. */
  get isReady(): boolean {
    const { authorizer } = this.options
    if (authorizer === undefined) return true
    const { authorization } = this
    const now = this.runtime.epochMillis()
    // one of the future was made before the clock was corrected
    if (authorization !== undefined && now < authorization.until && now > authorization.from) return true
    this.renew(authorizer.current, 0)
    return false
  }

  /** The service called the authorization of this generation expired. Says whether requests may be sent again, with another one. */
  expire(generation: number): boolean {
    const { authorizer } = this.options
    if (authorizer === undefined) return false
    if (generation === this.authorization?.generation) {
      this.authorization = undefined
      this.renew(authorizer.expired(generation), generation)
    }
    return true
  }

  /** Headers of requests, signed. */
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

  private renew(made: Effect.Effect<Authorization>, refused: number): void {
    if (this.isRenewing) return
    this.isRenewing = true
    this.runtime.fork(
      Effect.onExit(made, (exit) =>
        Effect.sync(() => {
          this.isRenewing = false
          if (exit._tag === "Failure") return
          this.authorization = exit.value
          this.options.onReady(exit.value.generation === refused)
        }))
    )
  }
}
