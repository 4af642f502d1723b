/**
 * A request to a push service. Its body is encrypted when a connection takes it, so that
 * waiting messages hold no ciphertext, and stays the same when it is sent again.
 */
import type { Provider } from "../pool/index.ts"
import type { Encryptor } from "./encryption/encryptor.ts"
import type { Outgoing } from "./Gateway.ts"

/** The headers of each request: all of them are shared by the message. */
const none: Provider.Request["headers"] = []

/** A request that encrypts late. */
export class WebPushRequest implements Provider.Request {
  readonly method = "POST"
  readonly path: string
  readonly shared: Provider.Headers
  readonly headers = none
  /** The push service keeps the time, by the header `ttl`. */
  readonly expiresAt = undefined
  private readonly push: Outgoing
  private readonly encryptor: Encryptor
  private encrypted: Uint8Array | undefined

  constructor(push: Outgoing, shared: Provider.Headers, encryptor: Encryptor) {
    this.push = push
    this.path = push.target.endpoint.path
    this.shared = shared
    this.encryptor = encryptor
  }

  /** The encrypted body; `undefined` for a message without one. */
  get body(): Uint8Array | undefined {
    const { encoded: { padTo, plaintext }, target } = this.push
    return this.encrypted ??= plaintext && this.encryptor.encrypt(target, plaintext, padTo)
  }

  /** The size of the body, if it was encrypted. */
  get bytes(): number {
    return this.encrypted?.length ?? 0
  }
}
