/** Answers in Google's form. Pure. */
import type * as Duration from "effect/Duration"
import { Behaviour } from "../push/index.ts"

/** A refusal. */
export interface Refusal {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** The code of FcmError, or Google's status, for counts. */
  readonly reason: string | undefined
}

const statuses: Readonly<Record<number, string>> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  429: "RESOURCE_EXHAUSTED",
  500: "INTERNAL",
  503: "UNAVAILABLE"
}

/** What a refusal says. */
export interface Said {
  readonly errorCode?: string | undefined
  readonly message?: string | undefined
  readonly retryAfter?: Duration.Duration | undefined
  /** The reason of ErrorInfo. */
  readonly info?: string | undefined
  readonly field?: string | undefined
  readonly description?: string | undefined
}

const type = (name: string) => `type.googleapis.com/${name}`

/** A refusal with Google's details. FcmError comes last, because its position is not fixed. */
export const refusal = (status: number, said: Said = {}): Refusal => {
  const { description, errorCode, field, info, message = "refused by the simulator", retryAfter } = said
  const name = statuses[status]
  const details = [
    ...(field === undefined ? [] : [{
      "@type": type("google.rpc.BadRequest"),
      fieldViolations: [{ field, description: description ?? message }]
    }]),
    ...(info === undefined ? [] : [{ "@type": type("google.rpc.ErrorInfo"), reason: info, domain: "googleapis.com" }]),
    ...(errorCode === undefined ? [] : [{ "@type": type("google.firebase.fcm.v1.FcmError"), errorCode }])
  ]
  return {
    status,
    headers: {
      "content-type": "application/json; charset=UTF-8",
      ...Behaviour.retryAfterHeader(retryAfter)
    },
    body: JSON.stringify({ error: { code: status, message, status: name, details } }),
    reason: errorCode ?? name
  }
}

/** A page of Google's front end, without JSON. */
export const page = (status: number): Refusal => ({
  status,
  headers: { "content-type": "text/html" },
  body: `<!DOCTYPE html><title>Error ${status}</title>`,
  reason: undefined
})
