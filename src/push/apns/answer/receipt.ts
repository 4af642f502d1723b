/**
 * Turns the end of a request into the end of a push. Pure.
 *
 * An id that is not a UUID is not Apple's, and is dropped. A page with the status
 * 200, as login portals send it, is not an accepted push.
 */
import * as Result from "effect/Result"
import { Message } from "../../../http2/index.ts"
import { retryAfter } from "../../../internal/peerNumber.ts"
import type { Pool } from "../../pool/index.ts"
import type { Receipt } from "../Gateway.ts"
import * as ApnsError from "./ApnsError.ts"
import * as Reason from "./Reason.ts"

/** How a request to APNs ended. */
export type Reply = Pool.Reply<Reason.Classification, ApnsError.ApnsError>

/** How a push ended. */
export type PushEnd = Result.Result<Receipt, ApnsError.ApnsError>

const notApns = (status: number): Reason.Classification => Reason.classify(status, undefined, undefined, true)

/** The end of a push. `now` returns milliseconds since 1970. */
export const receiptOf = (token: string, apnsId: string, reply: Reply, now: () => number): PushEnd => {
  if (Result.isFailure(reply)) return Result.fail(reply.failure)
  const { attempts, duration, refusal, response } = reply.success
  const { body, headers, status } = response
  const answeredId = Reason.idOf(Message.header(headers, "apns-id"), apnsId)
  if (status === 200 && (body.length === 0 || answeredId !== undefined)) {
    return Result.succeed({
      apnsId: answeredId ?? apnsId,
      apnsUniqueId: Reason.idOf(Message.header(headers, "apns-unique-id")),
      attempts,
      duration
    })
  }
  const after = Message.header(headers, "retry-after")
  return Result.fail(ApnsError.fromClassification(refusal ?? notApns(status), {
    token,
    apnsId: answeredId ?? apnsId,
    retryAfter: after === undefined ? undefined : retryAfter(after, now())
  }))
}

/** The failure of a push to a token that APNs has refused as BadDeviceToken before. */
export const badToken = (token: string): PushEnd =>
  Result.fail(ApnsError.fromAnswer({ status: 400, reason: "BadDeviceToken", timestamp: undefined, token }))

/** Whether APNs refused the token as BadDeviceToken. */
export const isBadToken = (end: PushEnd): boolean =>
  Result.isFailure(end) && ApnsError.appleReason(end.failure) === "BadDeviceToken"
