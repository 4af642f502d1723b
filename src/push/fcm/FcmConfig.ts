/**
 * Reads the credential and the server from the configuration, by default from the
 * environment:
 *
 * | variable | |
 * |---|---|
 * | `BACKQ_FCM_SERVICE_ACCOUNT` | the service account: the path of its JSON file, or its text, or base64 of it. Default: the path in `GOOGLE_APPLICATION_CREDENTIALS` |
 * | `BACKQ_FCM_PROJECT` | the project's id. Default: that of the account, else `GOOGLE_CLOUD_PROJECT` or `GCLOUD_PROJECT` |
 * | `BACKQ_FCM_HOST`, `BACKQ_FCM_PORT` | another server, such as a simulator |
 * | `BACKQ_FCM_CA` | the path of the certificate authorities to trust, in PEM, or their text |
 * | `BACKQ_FCM_PROXY` | an HTTP proxy: `http://user:password@proxy.example.com:3128` |
 *
 * A line end after a value is ignored, because `echo` writes one. An error about a value
 * names its variable, and quotes no value.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { readFile } from "../credential/index.ts"
import { Servers, Variables } from "../pool/index.ts"
import type { ConnectionOptions } from "./connectionOptions.ts"
import type * as Credential from "./credential/Credential.ts"
import * as CredentialError from "./credential/CredentialError.ts"
import { isContent } from "./credential/serviceAccount.ts"
import { projectRule } from "./projectRule.ts"

/**
 * The credential and the server of a program.
 *
 * @category models
 * @since 0.1.0
 */
export interface FcmConfig {
  readonly credential: Credential.ServiceAccountOptions
  readonly connection: ConnectionOptions
}

const prefix = "BACKQ_FCM_"

const variables = Config.all({
  account: Variables.optional(Config.Redacted(`${prefix}SERVICE_ACCOUNT`)),
  file: Variables.optional(Config.NonEmptyString("GOOGLE_APPLICATION_CREDENTIALS")),
  project: Variables.optional(Config.NonEmptyString(`${prefix}PROJECT`)),
  host: Variables.optional(Config.NonEmptyString(`${prefix}HOST`)),
  port: Variables.optional(Config.NonEmptyString(`${prefix}PORT`)),
  ca: Variables.optional(Config.NonEmptyString(`${prefix}CA`)),
  proxy: Variables.optional(Config.Redacted(`${prefix}PROXY`))
})

type Given = Config.Success<typeof variables>

const invalid = (variable: string, rule: string) =>
  Effect.fail(CredentialError.make(new CredentialError.OptionInvalid({ option: `${prefix}${variable}`, rule })))

const checkAll = ({ host, port, project }: Given): Effect.Effect<void, CredentialError.CredentialError> => {
  const broken = Variables.firstBroken([
    ["PROJECT", project, projectRule],
    ["HOST", host, Servers.host("fcm.googleapis.com")],
    ["PORT", port, Servers.port]
  ])
  return broken === undefined ? Effect.void : invalid(broken.option, broken.rule)
}

const accountOf = ({ account, file }: Given) => {
  if (account !== undefined) {
    const text = Redacted.value(account)
    return Effect.succeed(isContent(text) ? account : { file: text })
  }
  return file !== undefined ? Effect.succeed({ file }) : Effect.fail(CredentialError.make(
    new CredentialError.OptionMissing({
      option: `${prefix}SERVICE_ACCOUNT`,
      rule: "give the JSON file of a service account: the Firebase console has it under Service accounts"
    })
  ))
}

const authoritiesOf = (ca: string | undefined) =>
  ca === undefined
    ? Effect.undefined
    : ca.includes("-----BEGIN")
    ? Effect.succeed(ca)
    : Effect.mapBoth(Effect.provide(readFile(ca, "authorities"), NodeFileSystem.layer), {
      onSuccess: (bytes) => Buffer.from(bytes).toString("utf8"),
      onFailure: CredentialError.make
    })

/** The variables of options that are checked where they are used. */
const variableOf: Readonly<Record<string, string>> = {
  project: "PROJECT",
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
  if (reason._tag !== "OptionInvalid" && reason._tag !== "OptionMissing") return error
  const broken = Variables.named(reason, prefix, variableOf)
  if (broken === undefined) return error
  return CredentialError.make(
    reason._tag === "OptionInvalid"
      ? new CredentialError.OptionInvalid(broken)
      : new CredentialError.OptionMissing(broken)
  )
}

/**
 * Reads the variables. It opens no file but that of the certificate authorities.
 *
 * @category functions
 * @since 0.1.0
 */
export const load: Effect.Effect<FcmConfig, Config.ConfigError | CredentialError.CredentialError> = Effect.gen(
  function*() {
    const given = yield* Variables.read(variables)
    yield* checkAll(given)
    const { host, port, project } = given
    return {
      credential: { serviceAccount: yield* accountOf(given), project },
      connection: {
        host,
        port: port === undefined ? undefined : Number(port),
        ca: yield* authoritiesOf(given.ca),
        proxy: yield* Effect.catch(Variables.proxyOf(given.proxy), (rule) => invalid("PROXY", rule))
      }
    }
  }
)
