/**
 * Reads the credential and the endpoint from the configuration, by default from the
 * environment:
 *
 * | variable | |
 * |---|---|
 * | `BACKQ_APNS_KEY` | a key: the path of the `.p8` file, or its text, or base64 of it |
 * | `BACKQ_APNS_KEY_ID` | the key's id. Default: the id in the file's name, `AuthKey_ABC123DEFG.p8` |
 * | `BACKQ_APNS_TEAM_ID` | the team's id |
 * | `BACKQ_APNS_CERTIFICATE` | a certificate instead of a key: the path of a `.p12` or PEM file, or its text, or base64 of it |
 * | `BACKQ_APNS_CERTIFICATE_KEY` | the certificate's key in PEM: path or text. Default: the key in the certificate's file |
 * | `BACKQ_APNS_PASSPHRASE` | the passphrase of the certificate's key |
 * | `BACKQ_APNS_TOPIC` | the bundle id for notifications without a topic |
 * | `BACKQ_APNS_ENVIRONMENT` | `production` or `sandbox`. Default: `production` |
 * | `BACKQ_APNS_HOST`, `BACKQ_APNS_PORT` | another server, such as a simulator; 2197 is Apple's other port |
 * | `BACKQ_APNS_CA` | the certificate authorities to trust, in PEM: path or text |
 * | `BACKQ_APNS_PROXY` | an HTTP proxy: `http://user:password@proxy.example.com:3128` |
 *
 * A line end after a value is ignored, because `echo` writes one. An error about a value
 * names its variable, and quotes no value that may be a key. A value counts as a path
 * only if it looks like one.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { KeyMaterial } from "../credential/index.ts"
import { Servers, Variables } from "../pool/index.ts"
import type * as Credential from "./credential/Credential.ts"
import * as CredentialError from "./credential/CredentialError.ts"
import * as Endpoint from "./Endpoint.ts"
import * as OptionRules from "./options.ts"

/**
 * The credential and the endpoint of a program.
 *
 * @category models
 * @since 0.1.0
 */
export interface ApnsConfig {
  readonly credential: Credential.Options
  readonly endpoint: Endpoint.Options
}

const prefix = "BACKQ_APNS_"

const text = (name: string) => Variables.optional(Config.NonEmptyString(`${prefix}${name}`))
const secret = (name: string) => Variables.optional(Config.Redacted(`${prefix}${name}`))

const variables = Config.all({
  key: secret("KEY"),
  keyId: text("KEY_ID"),
  teamId: text("TEAM_ID"),
  certificate: secret("CERTIFICATE"),
  certificateKey: secret("CERTIFICATE_KEY"),
  passphrase: secret("PASSPHRASE"),
  topic: text("TOPIC"),
  environment: text("ENVIRONMENT"),
  host: text("HOST"),
  port: text("PORT"),
  ca: secret("CA"),
  proxy: secret("PROXY")
})

type Given = Config.Success<typeof variables>

const invalid = (variable: string, rule: string) =>
  Effect.fail(CredentialError.make(new CredentialError.OptionInvalid({ option: `${prefix}${variable}`, rule })))

const missing = (variable: string, rule: string) =>
  Effect.fail(CredentialError.make(new CredentialError.OptionMissing({ option: `${prefix}${variable}`, rule })))

const checkAll = (
  { environment, host, keyId, port, teamId, topic }: Given
): Effect.Effect<void, CredentialError.CredentialError> => {
  const broken = Variables.firstBroken([
    ["TOPIC", topic, OptionRules.defaultTopic],
    ["KEY_ID", keyId, OptionRules.id],
    ["TEAM_ID", teamId, OptionRules.id],
    ["ENVIRONMENT", environment, OptionRules.environment],
    ["HOST", host, OptionRules.pushHost(environment === "sandbox" ? environment : "production")],
    ["PORT", port, Servers.port]
  ])
  return broken === undefined ? Effect.void : invalid(broken.option, broken.rule)
}

const materialRule = "must be PEM, base64 of PEM, or a path such as AuthKey_ABC123DEFG.p8, /run/secrets/apns or ./apns"

const keyMaterial = (
  variable: string,
  kind: KeyMaterial.Kind,
  value: Redacted.Redacted
): Effect.Effect<Credential.KeyMaterial, CredentialError.CredentialError> => {
  const text = Redacted.value(value)
  if (KeyMaterial.contentIn(text, kind) !== undefined) return Effect.succeed(value)
  return KeyMaterial.isPath(text) ? Effect.succeed({ file: text }) : invalid(variable, materialRule)
}

const optionalKeyMaterial = (variable: string, kind: KeyMaterial.Kind, value: Redacted.Redacted | undefined) =>
  value === undefined ? Effect.undefined : keyMaterial(variable, kind, value)

/** The key's id in the file name of the developer account. */
const keyIdIn = (key: Redacted.Redacted): string | undefined =>
  /AuthKey_([A-Z0-9]{10})\.p8$/.exec(Redacted.value(key))?.[1]

const credentialOf = Effect.fnUntraced(function*(
  given: Given
): Effect.fn.Return<Credential.Options, CredentialError.CredentialError> {
  const { certificate, key, passphrase, teamId, topic } = given
  const common: Credential.CommonOptions = { topic, ca: yield* optionalKeyMaterial("CA", "certificate", given.ca) }
  if (key !== undefined && certificate !== undefined) {
    return yield* invalid("CERTIFICATE", `must not be given with ${prefix}KEY: give one of them, not both`)
  }
  if (certificate !== undefined) {
    return {
      ...common,
      certificate: yield* keyMaterial("CERTIFICATE", "certificate", certificate),
      certificateKey: yield* optionalKeyMaterial("CERTIFICATE_KEY", "key", given.certificateKey),
      passphrase
    }
  }
  if (key === undefined) {
    return yield* missing("KEY", `give the .p8 file of a key, or a certificate in ${prefix}CERTIFICATE`)
  }
  const found = yield* keyMaterial("KEY", "key", key)
  const keyId = given.keyId ?? keyIdIn(key)
  if (keyId === undefined) {
    const unnamed = Redacted.isRedacted(found) ? "" : `; the file name ${found.file} does not contain it`
    return yield* missing("KEY_ID", `give the key's id: 10 characters, in the developer account${unnamed}`)
  }
  if (teamId === undefined) {
    return yield* missing("TEAM_ID", "give the team's id: 10 characters, in the developer account")
  }
  return { ...common, key: found, keyId, teamId }
})

/** The variables of options that are checked where they are used. */
const variableOf: Readonly<Record<string, string>> = {
  topic: "TOPIC",
  keyId: "KEY_ID",
  teamId: "TEAM_ID",
  host: "HOST",
  port: "PORT"
}

/**
 * Replaces the option of an error by the name of its variable.
 *
 * @category functions
 * @since 0.1.0
 */
export const named = (error: CredentialError.CredentialError): CredentialError.CredentialError => {
  const { reason } = error
  const broken = reason._tag === "OptionInvalid" ? Variables.named(reason, prefix, variableOf) : undefined
  return broken === undefined ? error : CredentialError.make(new CredentialError.OptionInvalid(broken))
}

/**
 * Reads the variables. It opens no files.
 *
 * @category functions
 * @since 0.1.0
 */
export const load: Effect.Effect<ApnsConfig, Config.ConfigError | CredentialError.CredentialError> = Effect.gen(
  function*() {
    const given = yield* Variables.read(variables)
    yield* checkAll(given)
    const { environment, host, port } = given
    return {
      credential: yield* credentialOf(given),
      endpoint: {
        environment: environment as Endpoint.Environment | undefined,
        host,
        port: port === undefined ? undefined : Number(port),
        proxy: yield* Effect.catch(Variables.proxyOf(given.proxy), (rule) => invalid("PROXY", rule))
      }
    }
  }
)
