/** Service accounts for tests, like those that Google issues: an RSA key with its id, an address and a project. */
// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { generateKeyPairSync, randomBytes } from "node:crypto"

/**
 * A service account.
 *
 * @category models
 * @since 0.1.0
 */
export interface Account {
  readonly project: string
  readonly clientEmail: string
  readonly keyId: string
  /** The private key, PEM of PKCS #8. */
  readonly key: Redacted.Redacted
  /** The public key, PEM. */
  readonly publicKey: string
}

/**
 * Makes an account of a project. Default: `test-project`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeAccount = (project = "test-project"): Effect.Effect<Account> =>
  Effect.sync(() => {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", {
      modulusLength: 2048,
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" }
    })
    return {
      project,
      clientEmail: `push@${project}.iam.gserviceaccount.com`,
      keyId: randomBytes(20).toString("hex"),
      key: Redacted.make(privateKey),
      publicKey
    }
  })

/**
 * The JSON file of an account, whose tokens come from `tokenUri`.
 *
 * @category functions
 * @since 0.1.0
 */
export const toJson = ({ clientEmail, key, keyId, project }: Account, tokenUri: string): Redacted.Redacted =>
  Redacted.make(JSON.stringify({
    type: "service_account",
    project_id: project,
    private_key_id: keyId,
    private_key: Redacted.value(key),
    client_email: clientEmail,
    token_uri: tokenUri
  }))
