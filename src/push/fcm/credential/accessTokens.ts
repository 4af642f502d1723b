/**
 * Access tokens of Google: gets them for a service account, or from a program's own
 * source, and keeps them.
 *
 * - All pools of a process that use an account share its token. One call at a time gets
 *   a new one.
 * - About 5 minutes before a token ends, the next use starts to get a new one, while
 *   pushes go on with the old one. If that fails, the old one stays in use to its end.
 * - A clock that is off makes the token server refuse the account. Then the server's
 *   `date` tells the difference: it is logged and corrected, and the call is repeated once.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { Connection, type Http2Error, Message } from "../../../http2/index.ts"
import { parseJson } from "../../../internal/json.ts"
import { httpDate } from "../../../internal/peerNumber.ts"
import { clip, safeLine } from "../../../internal/text.ts"
import { effectOf, messageOfThrown } from "../../../internal/thrown.ts"
import type { Authorization, Authorizer, Servers } from "../../pool/index.ts"
import * as FcmError from "../answer/FcmError.ts"
import { assertionOf, type ServiceAccount } from "./serviceAccount.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** A token, and when it ends, in milliseconds since 1970. */
export interface AccessToken {
  readonly token: Redacted.Redacted | string
  readonly expiresAt: number
}

/** Gets a new token. */
export type Source = Effect.Effect<AccessToken, FcmError.FcmError>

/** A token that is kept. Times are in milliseconds since 1970. */
interface Kept {
  readonly value: Redacted.Redacted
  readonly generation: number
  readonly madeAt: number
  readonly refreshAt: number
  readonly expiresAt: number
}

/** The token of an account. */
export interface Account {
  kept: Kept | undefined
  /** When the next attempt to refresh may start. */
  resumeAt: number
  isRefreshing: boolean
  readonly alone: Semaphore.Semaphore
}

const makeAccount = (): Account => ({
  kept: undefined,
  resumeAt: 0,
  isRefreshing: false,
  alone: Semaphore.makeUnsafe(1)
})

/** The accounts of the process, by their name and key. */
const Accounts = Context.Reference<Map<string, Account>>("backq/fcm/Accounts", { defaultValue: () => new Map() })

/** The account of a key, which all users in this process share. */
export const sharedAccount = ({ clientEmail, keyId, tokenUri }: ServiceAccount): Effect.Effect<Account> =>
  Effect.map(Accounts, (accounts) => {
    const name = JSON.stringify([clientEmail, keyId, tokenUri.href])
    const known = accounts.get(name) ?? makeAccount()
    accounts.set(name, known)
    return known
  })

/** The account of a program's own source of tokens. */
export const ownAccount: Effect.Effect<Account> = Effect.sync(makeAccount)

// -----------------------------------------------------------------------------
// Asking the token server
// -----------------------------------------------------------------------------

const requestTimeout = Duration.seconds(15)

/** Clocks that differ less than this do not explain a refusal. */
const minSkewMillis = 60_000

const utf8 = new TextEncoder()
const text = new TextDecoder()

const fault = (detail: string) => FcmError.make(new FcmError.ConfigFault({ detail }))

const transient = (detail: string) =>
  FcmError.make(new FcmError.NotSent({ detail: `there is no access token: ${detail}` }))

/** An error of HTTP/2: a wrong host or certificate is a configuration fault. */
const ofConnection = ({ message, reason }: Http2Error.Http2Error) =>
  reason._tag === "TlsRejected" || reason._tag === "NotHttp2" || reason._tag === "OptionInvalid"
    ? fault(`the token server can't be used: ${message}`)
    : transient(message)

const fieldsOf = (body: Uint8Array): Readonly<Record<string, unknown>> => {
  const value = parseJson(text.decode(body))
  return typeof value === "object" && value !== null ? value as Readonly<Record<string, unknown>> : {}
}

/** What a header may carry as a token. */
const isToken = (value: unknown): value is string => typeof value === "string" && /^[\x21-\x7e]+$/.test(value)

const lineOf = (value: unknown): string => typeof value === "string" ? safeLine(clip(value, 300)) : ""

/** What the token server needs. */
export interface ServerOptions {
  readonly ca: string | undefined
  readonly proxy: Servers.Proxy | undefined
  readonly connectTimeout: Duration.Input | undefined
}

const post = Effect.fnUntraced(function*(tokenUri: URL, body: string, { ca, connectTimeout, proxy }: ServerOptions) {
  const connection = yield* Connection.make({
    host: tokenUri.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: tokenUri.port === "" ? 443 : Number(tokenUri.port),
    tls: { ...(ca === undefined ? undefined : { ca }) },
    proxy,
    connectTimeout,
    requestTimeout
  })
  return yield* connection.request({
    method: "POST",
    path: `${tokenUri.pathname}${tokenUri.search}`,
    headers: [{ name: "content-type", value: "application/x-www-form-urlencoded" }],
    body: utf8.encode(body)
  })
}, Effect.scoped)

const grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"

/** Says how far this machine's clock is off. */
const shownSkew = (millis: number): string =>
  `${Duration.format(Duration.seconds(Math.abs(Math.round(millis / 1000))))} ${millis > 0 ? "slow" : "fast"}`

/** Gets tokens for a service account. */
export const ofServiceAccount = (account: ServiceAccount, options: ServerOptions): Source => {
  // How far the server's clock is ahead of this machine's.
  let skew = 0

  const ask = Effect.fnUntraced(function*() {
    const now = yield* Clock.currentTimeMillis
    const assertion = Redacted.value(assertionOf(account, now + skew))
    const body = new URLSearchParams({ grant_type: grant, assertion }).toString()
    const response = yield* Effect.mapError(post(account.tokenUri, body, options), ofConnection)
    return { response, fields: fieldsOf(response.body), now: yield* Clock.currentTimeMillis }
  })

  const failureOf = ({ status }: Message.Response, fields: Readonly<Record<string, unknown>>, off: number) => {
    const said = [lineOf(fields["error"]), lineOf(fields["error_description"])].filter((one) => one !== "").join(": ")
    const answer = `${account.tokenUri.host} answered ${status}${said === "" ? "" : ` ${said}`}`
    if (status < 400 || status === 408 || status === 429 || status >= 500) return transient(answer)
    const clock = Math.abs(off) < minSkewMillis ? "" : `; this machine's clock is ${shownSkew(off)}: set it`
    return fault(
      `the token server refuses the service account ${account.clientEmail} (${answer})${clock}. ` +
        `Check that its key ${account.keyId} exists and that the account is enabled`
    )
  }

  return Effect.gen(function*() {
    let { fields, now, response } = yield* ask()
    const date = Message.header(response.headers, "date")
    const off = (date === undefined ? undefined : httpDate(date, now)) ?? now
    const isOff = Math.abs(off - now - skew) >= minSkewMillis
    if (response.status === 400 && fields["error"] === "invalid_grant" && isOff) {
      skew = off - now
      yield* Effect.logWarning(
        `this machine's clock is ${shownSkew(skew)}, by the clock of ${account.tokenUri.host}: set it. ` +
          `Access tokens are asked for with the corrected time`
      )
      ;({ fields, now, response } = yield* ask())
    }
    const { access_token: token, expires_in: seconds } = fields
    if (response.status !== 200 || !isToken(token)) return yield* failureOf(response, fields, off - now)
    const lifetime = typeof seconds === "number" && seconds > 0 && Number.isFinite(seconds) ? seconds : 3600
    return { token, expiresAt: now + lifetime * 1000 }
  })
}

/** Checks what a program's own source gives. A wrong token would fail each push as if the message were wrong. */
const checked = (given: unknown, now: number): Result.Result<AccessToken, FcmError.FcmError> => {
  const { expiresAt, token } = Predicate.isObject(given) ? given : {}
  const value = Redacted.isRedacted(token) ? Redacted.value(token) : token
  if (!isToken(value)) {
    return Result.fail(
      fault("accessToken must give { token, expiresAt } with a token of letters, digits and signs, without Bearer")
    )
  }
  return typeof expiresAt === "number" && expiresAt > now
    ? Result.succeed({ token: value, expiresAt })
    : Result.fail(
      fault("accessToken must give a token with expiresAt, its end in milliseconds since 1970, in the future")
    )
}

/** Gets tokens from a program's own source. */
export const ofProgram = (accessToken: Effect.Effect<AccessToken, unknown>): Source =>
  effectOf("accessToken", () => accessToken).pipe(
    Effect.timeout(requestTimeout),
    Effect.mapError((error) => transient(safeLine(messageOfThrown(error)))),
    Effect.flatMap((given) => Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fromResult(checked(given, now))))
  )

// -----------------------------------------------------------------------------
// Keeping tokens
// -----------------------------------------------------------------------------

/** A new token is asked for this long before the old one ends. */
const refreshBeforeMillis = 300_000

/** How long the next attempt waits after a failed refresh. */
const refreshPauseMillis = 15_000

/** After so long an old token may be given again, so that a new one is noticed. */
const rereadMillis = 1000

const isTransient = ({ reason }: FcmError.FcmError): boolean => reason._tag === "NotSent"

/** A server that is away for a moment does not fail the waiting pushes. */
const patience = Schedule.exponential("500 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 4 }))

const authorization = (
  { generation, madeAt, value }: Kept,
  until: number
): Authorization => ({ value, generation, from: madeAt - 3_600_000, until })

/** The authorizer of an account. Refreshes run in the scope. */
export const authorizerOf = (
  account: Account,
  source: Source,
  scope: Scope.Scope
): Authorizer<FcmError.FcmError> => {
  const getNew = Effect.gen(function*() {
    const { expiresAt, token } = yield* Effect.retry(source, { schedule: patience, while: isTransient })
    const madeAt = yield* Clock.currentTimeMillis
    const ahead = Math.min(refreshBeforeMillis, (expiresAt - madeAt) / 4)
    const jitter = yield* Random.nextBetween(1, 1.2)
    const value = `Bearer ${typeof token === "string" ? token : Redacted.value(token)}`
    return account.kept = {
      value: Redacted.make(value, { label: "authorization" }),
      generation: (account.kept?.generation ?? 0) + 1,
      madeAt,
      refreshAt: expiresAt - ahead * jitter,
      expiresAt
    }
  })

  /** A token that `isUsable`: the one that is kept, or a new one. Others wait and get it, too. */
  const get = (isUsable: (kept: Kept, now: number) => boolean) =>
    account.alone.withPermit(Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const { kept } = account
      return kept !== undefined && isUsable(kept, now) ? Effect.succeed(kept) : getNew
    }))

  const refresh = (now: number): Effect.Effect<void> => {
    if (account.isRefreshing || now < account.resumeAt) return Effect.void
    account.isRefreshing = true
    const attempt = get(({ refreshAt }, now) => now < refreshAt).pipe(
      Effect.catch((error) => {
        account.resumeAt = now + refreshPauseMillis
        return Effect.logWarning(
          `the access token of FCM was not renewed, and the old one stays in use: ${error.message}`
        )
      }),
      Effect.ensuring(Effect.sync(() => account.isRefreshing = false))
    )
    return Effect.asVoid(Effect.forkIn(attempt, scope))
  }

  const current = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const { kept } = account
    if (kept === undefined || now >= kept.expiresAt || now < kept.madeAt - 3_600_000) {
      return Effect.map(get((one, now) => now < one.expiresAt), (one) => authorization(one, one.refreshAt))
    }
    if (now < kept.refreshAt) return Effect.succeed(authorization(kept, kept.refreshAt))
    return Effect.as(refresh(now), authorization(kept, Math.min(kept.expiresAt, now + rereadMillis)))
  })

  return {
    current,
    expired: (generation) =>
      Effect.map(
        get((kept, now) => kept.generation !== generation && now < kept.expiresAt),
        (kept) => authorization(kept, kept.refreshAt)
      )
  }
}
