/**
 * Reacts to each request of a simulator: checks it, asks the script, answers as
 * APNs does, and records pushes.
 */
import * as Duration from "effect/Duration"
import * as Uuid from "../../internal/uuid.ts"
import { type Endpoint, Reason } from "../../push/apns/index.ts"
import * as Channels from "./channels.ts"
import { check } from "./checks.ts"
import type { Connection, Reacted, Reaction } from "./connection.ts"
import { type Incoming, isUuid, kindOf, type Refusal, tokenOf } from "./incoming.ts"
import type { Judge } from "./providerTokens.ts"
import type { Push } from "./recorder.ts"
import { type Behaviour, compile, type Script } from "./Script.ts"

/** The collaborators of a responder. */
export interface Options {
  readonly environment: Endpoint.Environment
  readonly judge: Judge
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly script: Script
  /** Records a push. Call the returned function if it was not processed after all. */
  readonly record: (push: Push) => () => void
}

/** Reacts to requests. */
export interface Responder {
  readonly react: (connection: Connection, request: Incoming) => Reacted
  /** Call it after each reaction. */
  readonly reacted: (connection: Connection) => void
  readonly script: () => Script
  readonly setScript: (script: Script) => void
  readonly maxStreams: () => { readonly before: number; readonly after: number }
}

const prepare = (script: Script) => ({
  script,
  dead: new Map(Object.entries(script.dead ?? {})),
  apps: new Map(Object.entries(script.apps ?? {})),
  decide: compile(script),
  delay: script.delay === undefined ? 0 : Duration.toMillis(Duration.fromInputUnsafe(script.delay)),
  maxStreams: {
    before: script.maxStreams?.before ?? 1,
    after: script.maxStreams?.after ?? 1000,
    refusals: script.maxStreams?.refusals ?? Infinity
  },
  patience: {
    refusals: script.patience?.refusals ?? Infinity,
    badTokens: script.patience?.badTokens ?? Infinity
  }
})

/** Makes a responder. */
export const make = (options: Options): Responder => {
  const { environment, judge, now, record } = options
  const channels = Channels.make()
  let prepared = prepare(options.script)

  type Headers = Record<string, string>

  const answer = (
    headers: Headers,
    status: number,
    body: string,
    { cut = false, delay = prepared.delay }: { readonly cut?: boolean; readonly delay?: number } = {}
  ): Reaction => ({ _tag: "Answer", headers: { ":status": String(status), ...headers }, body, delay, cut })

  const refuse = (headers: Headers, { reason, timestamp }: Refusal): Reaction =>
    answer(
      { ...headers, "content-type": "application/json" },
      Reason.table[reason].status,
      JSON.stringify(timestamp === undefined ? { reason } : { reason, timestamp })
    )

  const behave = (headers: Headers, behaviour: Behaviour): Reaction => {
    switch (behaviour._tag) {
      case "Refuse":
        return refuse(
          behaviour.retryAfter === undefined
            ? headers
            : { ...headers, "retry-after": String(Math.ceil(Duration.toSeconds(behaviour.retryAfter))) },
          behaviour
        )
      case "Delay":
        return answer(headers, 200, "", { delay: Duration.toMillis(behaviour.duration) })
      case "CutAfter":
        return answer(headers, 200, "", { cut: true })
      case "CutBefore":
        return { _tag: "Cut" }
      case "Reset":
      case "Silence":
        return behaviour
    }
  }

  const idsOf = (request: Incoming, idHeader: string, at: number): Headers => {
    const given = request.headers[idHeader]
    const id = given !== undefined && isUuid(given) ? given : Uuid.v7(at)
    return environment === "sandbox" && idHeader === "apns-id"
      ? { [idHeader]: id, "apns-unique-id": Uuid.v7(at) }
      : { [idHeader]: id }
  }

  const manage = (request: Incoming, headers: Headers): Reaction => {
    const answered = channels.answer(request)
    if ("reason" in answered) return refuse(headers, answered)
    const { body, channelId, status } = answered
    return answer(
      {
        ...headers,
        ...(channelId === undefined ? {} : { "apns-channel-id": channelId }),
        ...(body === undefined ? {} : { "content-type": "application/json" })
      },
      status,
      body === undefined ? "" : JSON.stringify(body)
    )
  }

  /** After a good provider token a connection may have more streams. */
  const accepted = (connection: Connection): void => {
    connection.refusals = connection.badTokens = 0
    if (connection.proven || connection.certificate !== undefined) return
    connection.proven = true
    connection.setMaxStreams(prepared.maxStreams.after)
  }

  /** After too many refusals a connection may have few streams again. */
  const refused = (connection: Connection, reason: Reason.Reason | undefined): void => {
    connection.refusals++
    if (reason === "BadDeviceToken") connection.badTokens++
    if (!connection.proven || connection.refusals < prepared.maxStreams.refusals) return
    connection.proven = false
    connection.setMaxStreams(prepared.maxStreams.before)
  }

  const isTooMuch = ({ badTokens, refusals }: Connection): boolean =>
    refusals >= prepared.patience.refusals || badTokens >= prepared.patience.badTokens

  return {
    react: (connection, request) => {
      const at = now()
      const { apps, dead, decide } = prepared
      const kind = kindOf(request.path)
      const idHeader = kind === "push" || request.headers["apns-id"] !== undefined ? "apns-id" : "apns-request-id"
      const headers = idsOf(request, idHeader, at)
      const refusal = check(kind, request, connection, { now: at, judge, dead, apps, channels })
      if (kind === "channels") {
        return {
          reaction: refusal === undefined ? manage(request, headers) : refuse(headers, refusal),
          disown: () => {}
        }
      }

      const target = kind === "push" ? tokenOf(request.path) : request.headers["apns-channel-id"] ?? ""
      const behaviour = refusal === undefined ? decide(target) : undefined
      const reaction = refusal !== undefined
        ? refuse(headers, refusal)
        : behaviour !== undefined
        ? behave(headers, behaviour)
        : answer(headers, 200, "")
      const status = reaction._tag === "Answer" ? Number(reaction.headers[":status"]) : undefined
      const reason = refusal?.reason ?? (behaviour?._tag === "Refuse" ? behaviour.reason : undefined)
      connection.pushes++
      if (status === 200) accepted(connection)
      else if (status !== undefined && status < 500 && status !== 410) refused(connection, reason)
      const disown = record({
        connection: connection.number,
        at,
        target,
        headers: request.headers,
        body: request.body,
        apnsId: headers[idHeader]!,
        status,
        reason
      })
      return { reaction, disown }
    },
    reacted: (connection) => {
      const { goaway } = prepared.script
      const every = goaway?.everyPushes
      if (every !== undefined && connection.pushes % every === 0) connection.goaway(goaway!, now())
      if (isTooMuch(connection)) connection.goaway({}, now())
    },
    script: () => prepared.script,
    setScript: (script) => {
      prepared = prepare(script)
    },
    maxStreams: () => prepared.maxStreams
  }
}
