/**
 * Reads the keys and the contact from the configuration, by default from the environment:
 *
 * | variable | |
 * |---|---|
 * | `BACKQ_WEBPUSH_PRIVATE_KEY` | the VAPID key: 32 bytes in base64url, PEM, a JSON Web Key, or the path of a file with one of them |
 * | `BACKQ_WEBPUSH_PUBLIC_KEY` | its public key, if you want it checked |
 * | `BACKQ_WEBPUSH_KEY_ID` | the id by which subscriptions name the key. Default: `default` |
 * | `BACKQ_WEBPUSH_SUBJECT` | whom a push service can ask: `mailto:ops@example.com`, or a page |
 * | `BACKQ_WEBPUSH_ALLOW` | the hosts that messages may go to: `known`, `anyPublic`, or a list with commas. Default: `known` |
 * | `BACKQ_WEBPUSH_CA` | the path of certificate authorities to trust, in PEM, such as those of a simulator |
 *
 * A line end after a value is ignored, because `echo` writes one. An error names the
 * variable, and quotes no key.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { KeyMaterial } from "../credential/index.ts"
import type { Allowed } from "./subscription/Endpoints.ts"
import * as SetupError from "./vapid/SetupError.ts"
import type * as VapidKey from "./vapid/VapidKey.ts"

/**
 * The configuration of a program.
 *
 * @category models
 * @since 0.1.0
 */
export interface WebPushConfig {
  readonly keys: VapidKey.Options
  readonly subject: string
  readonly allow?: Allowed | undefined
  readonly ca?: string | undefined
}

const prefix = "BACKQ_WEBPUSH_"

const text = (name: string): Config.Config<string | undefined> =>
  Config.map(
    Config.option(Config.String(`${prefix}${name}`)),
    (value) => Option.getOrUndefined(value)?.trim() || undefined
  )

const variables = Config.all({
  privateKey: Config.map(
    Config.option(Config.Redacted(`${prefix}PRIVATE_KEY`)),
    (value) => Redacted.value(Option.getOrElse(value, () => Redacted.make(""))).trim()
  ),
  publicKey: text("PUBLIC_KEY"),
  id: text("KEY_ID"),
  subject: text("SUBJECT"),
  allow: text("ALLOW"),
  ca: text("CA")
})

const missing = (variable: string, rule: string) =>
  SetupError.make(new SetupError.OptionMissing({ option: `${prefix}${variable}`, rule }))

const invalid = (variable: string, rule: string) =>
  SetupError.make(new SetupError.OptionInvalid({ option: `${prefix}${variable}`, rule }))

const readFile = (variable: string, file: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString(file)).pipe(
    Effect.mapError(({ reason }) => invalid(variable, `must be a file that can be read: ${file}: ${reason._tag}`)),
    Effect.provide(NodeFileSystem.layer)
  )

/** A path has an ending or a root, which base64 of 32 bytes and PEM have not. */
const isPath = (value: string): boolean => !value.startsWith("{") && KeyMaterial.isPath(value)

const allowOf = (value: string): Allowed =>
  value === "known" || value === "anyPublic" ? value : value.split(",").map((host) => host.trim())

/**
 * Reads the variables, and the files that they name.
 *
 * @category functions
 * @since 0.1.0
 */
export const load: Effect.Effect<WebPushConfig, Config.ConfigError | SetupError.SetupError> = Effect.gen(function*() {
  const { allow, ca, id, privateKey, publicKey, subject } = yield* variables
  if (privateKey === "") {
    return yield* missing("PRIVATE_KEY", "give a VAPID key; `backq vapid-keys` makes one")
  }
  if (subject === undefined) return yield* missing("SUBJECT", "give a contact, such as mailto:ops@example.com")
  const key = isPath(privateKey) ? yield* readFile("PRIVATE_KEY", privateKey) : privateKey
  return {
    keys: { id, publicKey, privateKey: Redacted.make(key, { label: "VAPID key" }) },
    subject,
    ...(allow === undefined ? undefined : { allow: allowOf(allow) }),
    ...(ca === undefined ? undefined : { ca: yield* readFile("CA", ca) })
  }
})
