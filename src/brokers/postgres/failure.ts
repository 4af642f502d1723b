/**
 * What PostgreSQL's failures mean for a user of the broker. Pure.
 *
 * What the server refused was not carried out, and neither was what found no
 * connection. What was sent and not answered, or answered by the end of its
 * session, may have been: its fate is unknown.
 */
import { BrokerError, make as brokerError, OutOfMemory, Unavailable, Unsupported } from "../../BrokerError.ts"
import { clip, maxReasonChars, safeLine } from "../../internal/text.ts"
import { certificateProblem, codeOf, isNotTls, networkDetail, textOf } from "../../internal/tls.ts"
import { DriverError } from "./driver.ts"
import * as Grants from "./grants.ts"

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const readOnlyTransaction = "25006"
const protocolViolation = "08P01"

/** No disk or memory left. */
const isFull = new Set(["53100", "53200"])
/** Shutdown, crash, a database that was dropped, a session that was idle for too long. */
const endsSession = new Set(["57P01", "57P02", "57P04", "57P05", "25P03"])
/** Missing rights, schema, table, column or function. */
const isNotSetUp = new Set(["42501", "3F000", "42P01", "42703", "42883"])
/** What waiting does not mend: the password, pg_hba.conf, the database, a setting that the server does not know. */
const isFinal = new Set(["28P01", "28000", "3D000", "42704"])
/** The server undid the statement because of others: it can be sent again. */
const isUndoneBy = new Set(["40001", "40P01"])

const advice: Record<string, string> = {
  "28P01": "check user and password",
  "28000": "check the user, the lines of pg_hba.conf, and sslmode in the URL",
  "3D000": "create the database, or name another in the URL",
  "42704": "the server does not know a setting that PostgreSQL has from version 13 on: upgrade it",
  "53300": "the broker needs up to 3 connections for each process: raise max_connections, or end others",
  "53400": "the broker needs up to 3 connections for each process: raise the limit of the role or database",
  "55P03": "another session holds a lock for too long: end it, or try again",
  "57014": "the server canceled the statement: it took longer than 30 seconds, or somebody canceled it",
  "57P03": "the server starts, stops or recovers: it takes no connections yet",
  "25P02": "an earlier statement of the transaction failed, so nothing of it will be kept: roll back",
  [readOnlyTransaction]: "it is a standby or read-only: name the primary, or all hosts, in the URL"
}

const ofPooler = "the pooler takes no settings of sessions: leave pooler at auto, or name in its " +
  "ignore_startup_parameters what it refuses"

/** A pooler that has no session with the server, or none left: it did not pass the statement on. */
const hasNoServer =
  /query_wait_timeout|login (has been )?fail|cannot connect to server|no more connections|client_login_timeout/i

const isPoolerAway = ({ code, detail }: DriverError): boolean => code === protocolViolation && hasNoServer.test(detail)

const nameOfOption = (option: "ca" | "servername"): string => option === "ca" ? "ca=FILE" : "sslmode=verify-ca"

/** What is wrong with TLS; `undefined` where it is something else. */
const tlsDetail = (error: DriverError): string | undefined => {
  const [code, text] = [codeOf(error.cause), textOf(error.cause)]
  const problem = certificateProblem(code, text, nameOfOption)
  if (problem !== undefined) return `${problem.detail}. sslmode=require would trust any certificate`
  if (isNotTls(code, text) || /SSL|TLS/.test(error.detail)) {
    return `${safeLine(clip(error.detail, maxReasonChars))}: turn TLS on in the server, or set sslmode=disable where ` +
      "nobody can listen on the way"
  }
  return undefined
}

/** Whether a session was lost, or never opened. */
const isWithoutAnswer = ({ code }: DriverError): boolean => code === undefined || code.startsWith("08")

const isUnknown = (error: DriverError): boolean =>
  error.phase === "query" && !isPoolerAway(error)
  && (isWithoutAnswer(error) || endsSession.has(error.code ?? ""))

const hintOf = (error: DriverError): string | undefined => {
  if (isSettingsRefused(error)) return ofPooler
  if (error.code === "42704" && error.detail.startsWith("role ")) return "create the role, or name another"
  if (error.code === "28000" && /client certificate/.test(error.detail)) {
    return "the server asks for a certificate of the client: name it with cert=FILE and key=FILE"
  }
  if (error.code === undefined && /requested password/.test(error.detail)) {
    return "the server asks for a password: set PGPASSWORD, or give it in the URL"
  }
  if (error.code === undefined && /No username/.test(error.detail)) {
    return "name the user in the URL, as in postgres://USER@HOST/DATABASE"
  }
  return advice[error.code ?? ""] ?? networkDetail(error.code ?? codeOf(error.cause), "PostgreSQL")
}

const detailOf = (error: DriverError): string => {
  if (error.code === undefined) {
    const tls = tlsDetail(error)
    if (tls !== undefined) return tls
  }
  const text = safeLine(clip(error.detail, maxReasonChars))
  const hint = hintOf(error)
  return hint === undefined ? text : `${hint} (${text})`
}

/** What a missing right, schema or table takes. */
const setUpHint = (schema: string, { code, detail }: DriverError): string =>
  `${safeLine(clip(detail, maxReasonChars))}: ${
    code === "42501" ? Grants.advice(schema, detail) : "run backq migrate, or leave migrate on"
  }`

/** Whether the statement can be sent again, because the server undid it in favor of others. */
export const isUndone = ({ code }: DriverError): boolean => code !== undefined && isUndoneBy.has(code)

/** Whether the session must end, because the server is no longer the primary. */
export const isDemoted = ({ code }: DriverError): boolean => code === readOnlyTransaction

/** Whether a relay refuses the settings of a session, as poolers do. */
export const isSettingsRefused = ({ code, detail, phase }: DriverError): boolean =>
  phase === "connect" && code === protocolViolation && /startup (parameter|option)/i.test(detail)

/** As if a pooler that drops the settings of a session had refused them. */
export const settingsRefused = new DriverError({
  phase: "connect",
  code: protocolViolation,
  detail: "a startup parameter was dropped",
  cause: undefined
})

/** The broker's error for one of the driver's. */
export const failure = (broker: string, schema: string, error: DriverError): BrokerError => {
  const { cause, code = "" } = error
  if (cause instanceof BrokerError) return cause
  if (isFull.has(code)) return brokerError(new OutOfMemory({ broker }))
  if (isNotSetUp.has(code)) {
    const operation = `its work in schema "${schema}"`
    return brokerError(new Unsupported({ broker, operation, hint: setUpHint(schema, error) }))
  }
  return brokerError(
    new Unavailable({ broker, fate: isUnknown(error) ? "Unknown" : "NotSent", detail: detailOf(error), cause: error })
  )
}

/** Whether waiting for the server may help. It does not if a setting is wrong. */
export const isWorthWaiting = ({ reason }: BrokerError): boolean =>
  reason._tag === "OutOfMemory" || reason._tag === "Unavailable" && !isMisconfigured(reason.cause)

const isMisconfigured = (cause: unknown): boolean =>
  cause instanceof DriverError && cause.phase === "connect"
  && (isFinal.has(cause.code ?? "") || isSettingsRefused(cause))

/** The server of a host is no primary. */
export const notPrimary = (broker: string): BrokerError =>
  brokerError(new Unavailable({ broker, fate: "NotSent", detail: advice[readOnlyTransaction]! }))

/** The server is older than what the broker needs. */
export const tooOld = (broker: string, version: string): BrokerError =>
  brokerError(
    new Unsupported({
      broker,
      operation: `its work on PostgreSQL ${safeLine(clip(version, maxReasonChars))}`,
      hint: "it needs PostgreSQL 13 or newer: upgrade the server"
    })
  )
