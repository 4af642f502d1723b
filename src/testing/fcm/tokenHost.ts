/** The token host of a simulator: checks the assertions of service accounts and issues access tokens. */
// @effect-diagnostics nodeBuiltinImport:off
import { createHash, verify } from "node:crypto"
import { parseJson } from "../../internal/json.ts"
import type { Connection } from "../push/index.ts"
import type { Account } from "./Account.ts"

/** An issued access token. */
interface Issued {
  readonly account: Account
  /** 1 for the first token of the simulator. */
  readonly number: number
  /** In milliseconds since 1970. */
  readonly expiresAt: number
}

/** An answer of the token host. */
export interface TokenAnswer {
  readonly status: number
  readonly body: string
}

const grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
const scopes = ["https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"]

/** The clocks of client and server may differ by this. */
const toleranceSeconds = 300

const error = (name: string, description: string): TokenAnswer => ({
  status: 400,
  body: JSON.stringify({ error: name, error_description: description })
})

const jsonOf = (part: string | undefined): Readonly<Record<string, unknown>> => {
  const value = parseJson(Buffer.from(part ?? "", "base64url").toString())
  return typeof value === "object" && value !== null ? value as Readonly<Record<string, unknown>> : {}
}

/** Issues access tokens. */
export class TokenHost {
  readonly tokenUri: () => string
  /** How many tokens it issued, and how often it was asked. */
  issued = 0
  asked = 0
  private readonly accounts: ReadonlyArray<Account>
  private readonly tokens = new Map<string, Issued>()

  constructor(accounts: ReadonlyArray<Account>, tokenUri: () => string) {
    this.accounts = accounts
    this.tokenUri = tokenUri
  }

  /** Answers a request. `now` is in milliseconds since 1970. */
  answer({ body, headers }: Connection.Incoming, now: number, lifetimeSeconds: number): TokenAnswer {
    this.asked++
    if (headers["content-type"] !== "application/x-www-form-urlencoded") return error("invalid_request", "no form")
    const form = new URLSearchParams(body)
    if (form.get("grant_type") !== grant) return error("unsupported_grant_type", "Invalid grant_type")
    const [header, claims, signature] = (form.get("assertion") ?? "").split(".")
    const { alg, kid } = jsonOf(header)
    const { aud, exp, iat, iss, scope } = jsonOf(claims)
    const account = this.accounts.find(({ clientEmail, keyId }) => clientEmail === iss && keyId === kid)
    if (account === undefined) return error("invalid_grant", "Invalid grant: account not found")
    const isSigned = alg === "RS256" &&
      verify("sha256", Buffer.from(`${header}.${claims}`), account.publicKey, Buffer.from(signature ?? "", "base64url"))
    if (!isSigned) return error("invalid_grant", "Invalid JWT Signature.")
    if (aud !== this.tokenUri()) return error("invalid_grant", "Invalid JWT: Failed audience check.")
    if (typeof scope !== "string" || !scope.split(" ").some((one) => scopes.includes(one))) {
      return error("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    }
    const seconds = now / 1000
    const isTimely = typeof iat === "number" && typeof exp === "number" && exp - iat <= 3600 && exp > seconds &&
      Math.abs(iat - seconds) <= toleranceSeconds
    if (!isTimely) {
      return error(
        "invalid_grant",
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
      )
    }
    const number = ++this.issued
    const token = `ya29.${createHash("sha256").update(`${account.keyId} ${number} ${now}`).digest("base64url")}`
    this.tokens.set(token, { account, number, expiresAt: now + lifetimeSeconds * 1000 })
    return {
      status: 200,
      body: JSON.stringify({ access_token: token, expires_in: lifetimeSeconds, token_type: "Bearer" })
    }
  }

  /** The account of a token that is valid. */
  accountOf(authorization: string | undefined, now: number, validFrom: number): Account | undefined {
    const issued = this.tokens.get(/^Bearer (.+)$/i.exec(authorization ?? "")?.[1] ?? "")
    return issued !== undefined && issued.expiresAt > now && issued.number >= validFrom ? issued.account : undefined
  }
}
