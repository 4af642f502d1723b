/**
 * What PostgreSQL's failures mean for a user of the broker. Pure.
 *
 * What the server refused was not carried out, and neither was what found no
 * connection. What was sent and not answered, or answered by the end of its
 * session, may have been: its fate is unknown.
 */
import { type BrokerError, make as brokerError, OutOfMemory, Unavailable, Unsupported } from "../../BrokerError.ts"
import { clip, maxReasonChars, safeLine } from "../../internal/text.ts"
import { codeOf, networkDetail } from "../../internal/tls.ts"
import type { DriverError } from "./driver.ts"

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const readOnlyTransaction = "25006"
const abortedTransaction = "25P02"

const diskFull = new Set(["53100", "53200"])
const sessionEnded = new Set(["57P01", "57P02"])
/** Missing rights, schema or table. */
const notSetUp = new Set(["42501", "3F000", "42P01", "42703", "42883"])
/** What waiting does not mend. */
const misconfigured = new Set(["28P01", "28000", "3D000", "08P01"])
/** The server undid the statement because of others: it can be sent again. */
const undone = new Set(["40001", "40P01"])

const advice: Record<string, string> = {
  "28P01": "check user and password",
  "28000": "check the user, the lines of pg_hba.conf, and sslmode in the URL",
  "3D000": "create the database, or name another in the URL",
  "08P01": "connect to the server itself: a pooler in between takes no settings of sessions",
  "53300": "the broker needs up to 3 connections for each process: raise max_connections, or end others",
  [readOnlyTransaction]: "it is a standby or read-only: name the primary, or all hosts, in the URL",
  [abortedTransaction]: "an earlier statement of the transaction failed, so nothing of it will be kept: roll back"
}

const tlsDetail = (code: string): string | undefined =>
  /CERT|SELF_SIGNED|UNABLE_TO|ALTNAME|^ERR_TLS|^ERR_SSL|LEAF_SIGNATURE/.test(code)
    ? `its certificate is not trusted (${code}): name the authority with ca=FILE, or choose a weaker sslmode (require)`
    : undefined

/** Was a session lost, or never there? */
const isWithoutAnswer = ({ code }: DriverError): boolean => code === undefined || code.startsWith("08")

const isUnknown = (error: DriverError): boolean =>
  error.phase === "query" && (isWithoutAnswer(error) || sessionEnded.has(error.code ?? ""))

const detailOf = (error: DriverError): string => {
  const text = safeLine(clip(error.detail, maxReasonChars))
  const code = error.code ?? codeOf(error.cause)
  const hint = advice[code] ?? tlsDetail(code) ?? networkDetail(code, "PostgreSQL")
  if (hint === undefined && /SSL|TLS/.test(error.detail)) return `${text}: check sslmode in the URL`
  return hint === undefined ? text : `${hint} (${text})`
}

/** Can the statement be sent again, because the server undid it on account of others? */
export const isUndone = ({ code }: DriverError): boolean => code !== undefined && undone.has(code)

/** Has the session to be given up: the server is not the primary any more? */
export const isDemoted = ({ code }: DriverError): boolean => code === readOnlyTransaction

/** The broker's error for one of the driver's. */
export const failure = (broker: string, schema: string, error: DriverError): BrokerError => {
  const { code = "" } = error
  if (diskFull.has(code)) return brokerError(new OutOfMemory({ broker }))
  if (notSetUp.has(code)) {
    return brokerError(
      new Unsupported({
        broker,
        operation: `its work in schema "${schema}"`,
        hint:
          `${safeLine(clip(error.detail, maxReasonChars))}. Grant USAGE on the schema, its tables and sequences to ` +
          "the user, or leave migrate on"
      })
    )
  }
  return brokerError(
    new Unavailable({ broker, fate: isUnknown(error) ? "Unknown" : "NotSent", detail: detailOf(error), cause: error })
  )
}

/** Is it worth waiting for the server? Not when a setting is wrong. */
export const isWorthWaiting = ({ reason }: BrokerError): boolean =>
  reason._tag === "Unavailable" && !isMisconfigured(reason.cause)

const isMisconfigured = (cause: unknown): boolean =>
  typeof cause === "object" && cause !== null && "phase" in cause && cause.phase === "connect"
  && "code" in cause && misconfigured.has(String(cause.code))

/** The server of a host is no primary. */
export const notPrimary = (broker: string): BrokerError =>
  brokerError(new Unavailable({ broker, fate: "NotSent", detail: advice[readOnlyTransaction]! }))
