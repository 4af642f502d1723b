/**
 * The credential of a project: a service account, or a program's own source of access
 * tokens for other Google credentials.
 *
 * ```ts
 * const account: Credential.Options = { serviceAccount: { file: "service-account.json" } }
 * const other: Credential.Options = { project: "my-project", accessToken: tokenOfGoogleAuthLibrary }
 * ```
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { readFile, watch as watchFile } from "../../credential/index.ts"
import type { Authorizer } from "../../pool/index.ts"
import type * as FcmError from "../answer/FcmError.ts"
import { projectRule } from "../projectRule.ts"
import * as AccessTokens from "./accessTokens.ts"
import * as CredentialError from "./CredentialError.ts"
import * as ServiceAccount from "./serviceAccount.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * An access token of Google, and when it ends, in milliseconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export interface AccessToken extends AccessTokens.AccessToken {}

/**
 * A service account, with its key.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceAccountOptions {
  /** The JSON file of the account, or its content: a text, or base64 of it. */
  readonly serviceAccount: { readonly file: string } | Redacted.Redacted<string>
  /**
   * The id of the project. Default: the `project_id` of the account, else the variable
   * `GOOGLE_CLOUD_PROJECT` or `GCLOUD_PROJECT`.
   */
  readonly project?: string | undefined
}

/**
 * A program's own source of access tokens, such as google-auth-library. They need the
 * scope `https://www.googleapis.com/auth/firebase.messaging`.
 *
 * @category models
 * @since 0.1.0
 */
export interface AccessTokenOptions {
  /** Gets a new token. It is called again about 5 minutes before the token ends. */
  readonly accessToken: Effect.Effect<AccessToken, unknown>
  /** The id of the project. Default: the variable `GOOGLE_CLOUD_PROJECT` or `GCLOUD_PROJECT`. */
  readonly project?: string | undefined
}

/**
 * The credential of a project.
 *
 * @category models
 * @since 0.1.0
 */
export type Options = ServiceAccountOptions | AccessTokenOptions

/**
 * A credential that is ready.
 *
 * @category models
 * @since 0.1.0
 */
export interface Credential {
  readonly project: string
  /** The file of the account, or another name of it for messages. */
  readonly source: string
  readonly authorizer: Authorizer<FcmError.FcmError>
}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

const invalid = (option: string, rule: string) =>
  CredentialError.make(new CredentialError.OptionInvalid({ option, rule }))

const environmentProject = Effect.gen(function*() {
  for (const name of ["GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"]) {
    const found = yield* Effect.orElseSucceed(Config.option(Config.NonEmptyString(name)), () => Option.none<string>())
    if (Option.isSome(found)) return found.value
  }
  return undefined
})

const projectOf = Effect.fnUntraced(function*(given: string | undefined, ofAccount: string | undefined) {
  const project = given ?? ofAccount ?? (yield* environmentProject)
  if (project === undefined) {
    return yield* CredentialError.make(
      new CredentialError.OptionMissing({ option: "project", rule: "give the id of the Firebase project" })
    )
  }
  const rule = projectRule(project)
  return rule === undefined ? project : yield* invalid("project", rule)
})

/** The text of an account, read. */
interface Loaded {
  readonly source: string
  readonly text: Redacted.Redacted
}

const load = Effect.fnUntraced(function*({ serviceAccount: given }: ServiceAccountOptions): Effect.fn.Return<
  Loaded,
  CredentialError.CredentialError
> {
  if (Redacted.isRedacted(given)) return { source: "the given text", text: given }
  const bytes = yield* Effect.mapError(
    Effect.provide(readFile(given.file, "service account"), NodeFileSystem.layer),
    CredentialError.make
  )
  return { source: given.file, text: Redacted.make(Buffer.from(bytes).toString("utf8"), { label: "service account" }) }
})

const accountOf = ({ source, text }: Loaded) =>
  Effect.mapError(Effect.fromResult(ServiceAccount.parse(Redacted.value(text), source)), CredentialError.make)

/** Pushes name their project, so a file can't replace it by another one. */
const otherProject = (source: string, project: string) =>
  CredentialError.make(
    new CredentialError.AccountInvalid({
      source,
      field: "project_id",
      rule: `must stay ${project}: restart the program for an account of another project`
    })
  )

const hasAccount = (options: Options): options is ServiceAccountOptions =>
  "serviceAccount" in options && options.serviceAccount !== undefined

const check = (options: Options): CredentialError.CredentialError | undefined => {
  if (!Predicate.isObject(options)) return invalid("credential", "must be an object with serviceAccount or accessToken")
  const hasToken = "accessToken" in options && options.accessToken !== undefined
  if (hasAccount(options) === hasToken) {
    return invalid("credential", "must have serviceAccount or accessToken, and not both")
  }
  if (!hasAccount(options)) {
    return Effect.isEffect(options.accessToken) ? undefined : invalid("accessToken", "must be an Effect of a token")
  }
  const given: unknown = options.serviceAccount
  const isGiven = Redacted.isRedacted(given)
    ? typeof Redacted.value(given) === "string"
    : Predicate.hasProperty(given, "file") && typeof given.file === "string"
  return isGiven ? undefined : invalid("serviceAccount", "must be { file: PATH }, or Redacted.make of its content")
}

/**
 * The options of {@link watch}.
 *
 * @category models
 * @since 0.1.0
 */
export interface WatchOptions {
  /** How often to read the file again. Default: 1 minute. */
  readonly every?: Duration.Input | undefined
}

/**
 * Reads a credential. Its first token is asked for when it is needed. A changed file of
 * a service account replaces the credential, until the scope closes. An invalid or
 * unreadable change, or one to another project, is logged, and the old credential stays.
 *
 * @category constructors
 * @since 0.1.0
 */
export const watch = Effect.fnUntraced(function*(
  options: Options,
  server: AccessTokens.ServerOptions,
  { every }: WatchOptions = {}
): Effect.fn.Return<SubscriptionRef.SubscriptionRef<Credential>, CredentialError.CredentialError, Scope.Scope> {
  const wrong = check(options)
  if (wrong !== undefined) return yield* wrong
  const scope = yield* Effect.scope
  if (!hasAccount(options)) {
    const account = yield* AccessTokens.ownAccount
    return yield* SubscriptionRef.make<Credential>({
      project: yield* projectOf(options.project, undefined),
      source: "accessToken",
      authorizer: AccessTokens.authorizerOf(account, AccessTokens.ofProgram(options.accessToken), scope)
    })
  }
  let used: string | undefined
  const parse = Effect.fnUntraced(function*(loaded: Loaded): Effect.fn.Return<
    Credential,
    CredentialError.CredentialError
  > {
    const serviceAccount = yield* accountOf(loaded)
    const project = yield* projectOf(options.project, serviceAccount.project)
    if (project !== (used ??= project)) return yield* otherProject(loaded.source, used)
    const account = yield* AccessTokens.sharedAccount(serviceAccount)
    return {
      project,
      source: loaded.source,
      authorizer: AccessTokens.authorizerOf(account, AccessTokens.ofServiceAccount(serviceAccount, server), scope)
    }
  })
  if (Redacted.isRedacted(options.serviceAccount)) {
    return yield* SubscriptionRef.make(yield* Effect.flatMap(load(options), parse))
  }
  return yield* watchFile({
    name: "FCM credential",
    every,
    load: load(options),
    isSame: (a, b) => Redacted.value(a.text) === Redacted.value(b.text),
    parse
  })
})
