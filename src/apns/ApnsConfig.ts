/**
 * Credential and endpoint from the configuration, which is the environment
 * where no other is provided:
 *
 * | variable | |
 * |---|---|
 * | `BACKQ_APNS_KEY` | a key: the `.p8` file, or its text |
 * | `BACKQ_APNS_KEY_ID` | its id. Default: the one in the name of the file, `AuthKey_ABC123DEFG.p8` |
 * | `BACKQ_APNS_TEAM_ID` | the team's id |
 * | `BACKQ_APNS_CERTIFICATE` | instead of a key, a certificate: a `.p12` or PEM file, or the text of the latter |
 * | `BACKQ_APNS_CERTIFICATE_KEY` | its key, PEM file or text. Default: it stands with the certificate |
 * | `BACKQ_APNS_PASSPHRASE` | of the certificate's key |
 * | `BACKQ_APNS_TOPIC` | the bundle id of notifications that have no topic |
 * | `BACKQ_APNS_ENVIRONMENT` | `production` or `sandbox`. Default: `production` |
 * | `BACKQ_APNS_HOST`, `BACKQ_APNS_PORT` | another server, such as a simulator; 2197 is Apple's other port |
 * | `BACKQ_APNS_CA` | PEM file or text of the authorities that the server is trusted by |
 * | `BACKQ_APNS_PROXY` | an HTTP proxy: `http://user:password@proxy.example.com:3128` |
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Credential from "./Credential.ts"
import * as CredentialError from "./CredentialError.ts"
import * as Endpoint from "./Endpoint.ts"

/** Who the program is, and where it pushes to. */
export interface ApnsConfig {
  readonly credential: Credential.Options
  readonly endpoint: Endpoint.Options
}

const prefix = "BACKQ_APNS_"

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

const text = (name: string) => optional(Config.NonEmptyString(`${prefix}${name}`))
const secret = (name: string) => optional(Config.Redacted(`${prefix}${name}`))

const variables = Config.all({
  key: secret("KEY"),
  keyId: text("KEY_ID"),
  teamId: text("TEAM_ID"),
  certificate: secret("CERTIFICATE"),
  certificateKey: secret("CERTIFICATE_KEY"),
  passphrase: secret("PASSPHRASE"),
  topic: text("TOPIC"),
  environment: optional(Config.Literals(["production", "sandbox"], `${prefix}ENVIRONMENT`)),
  host: text("HOST"),
  port: optional(Config.Port(`${prefix}PORT`)),
  ca: secret("CA"),
  proxy: secret("PROXY")
})

type Variables = Config.Success<typeof variables>

const invalid = (variable: string, rule: string) =>
  Effect.fail(CredentialError.make(new CredentialError.OptionInvalid({ option: `${prefix}${variable}`, rule })))

/** PEM is a text; everything else names a file. */
const material = (value: Redacted.Redacted): Credential.Material =>
  Redacted.value(value).includes("-----BEGIN ") ? value : { file: Redacted.value(value) }

const optionalMaterial = (value: Redacted.Redacted | undefined): Credential.Material | undefined =>
  value === undefined ? undefined : material(value)

/** The id in the name that the developer account gives to the file. */
const keyIdIn = (key: Redacted.Redacted): string | undefined =>
  /AuthKey_([A-Z0-9]{10})\.p8$/.exec(Redacted.value(key))?.[1]

const credentialOf = (
  given: Variables
): Effect.Effect<Credential.Options, CredentialError.CredentialError> => {
  const { certificate, key, passphrase, teamId, topic } = given
  const common: Credential.CommonOptions = { topic, ca: optionalMaterial(given.ca) }
  if (key !== undefined && certificate !== undefined) {
    return invalid("CERTIFICATE", `give it or ${prefix}KEY, not both`)
  }
  if (certificate !== undefined) {
    const certificateKey = optionalMaterial(given.certificateKey)
    return Effect.succeed({ ...common, certificate: material(certificate), certificateKey, passphrase })
  }
  if (key === undefined) {
    return invalid("KEY", `give the .p8 file of a key, or a certificate in ${prefix}CERTIFICATE`)
  }
  const keyId = given.keyId ?? keyIdIn(key)
  if (keyId === undefined) return invalid("KEY_ID", "give the key's id: 10 characters, in the developer account")
  if (teamId === undefined) return invalid("TEAM_ID", "give the team's id: 10 characters, in the developer account")
  return Effect.succeed({ ...common, key: material(key), keyId, teamId })
}

const proxyOf = ({ proxy }: Variables): Effect.Effect<Endpoint.Proxy | undefined, CredentialError.CredentialError> =>
  proxy === undefined
    ? Effect.undefined
    : Effect.catch(
      Effect.fromResult(Endpoint.parseProxy(Redacted.value(proxy))),
      (rule) => invalid("PROXY", rule)
    )

/** Reads the variables. Files are not opened here. */
export const load: Effect.Effect<ApnsConfig, Config.ConfigError | CredentialError.CredentialError> = Effect.gen(
  function*() {
    const given = yield* variables
    const { environment, host, port } = given
    return {
      credential: yield* credentialOf(given),
      endpoint: { environment, host, port, proxy: yield* proxyOf(given) }
    }
  }
)
