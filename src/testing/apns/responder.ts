/**
 * Reacts to each request of a simulator: checks it, asks the script, answers as
 * APNs does, and records pushes.
 */
import * as Duration from "effect/Duration"
import * as Uuid from "../../internal/uuid.ts"
import { type Endpoint, Reason } from "../../push/apns/index.ts"
import { Behaviour as Base, Connection as Answers } from "../push/index.ts"
import * as Channels from "./channels.ts"
import { check } from "./checks.ts"
import { type Connection, goawayOf } from "./connection.ts"
import { type Incoming, isUuid, kindOf, type Refusal, tokenOf } from "./incoming.ts"
import type { Judge } from "./providerTokens.ts"
import type { Push } from "./push.ts"
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

type Headers = Record<string, string>

/** Reacts to requests. */
export class Responder {
  private readonly options: Options
  private readonly channels = Channels.make()
  private prepared: ReturnType<typeof prepare>

  constructor(options: Options) {
    this.options = options
    this.prepared = prepare(options.script)
  }

  get script(): Script {
    return this.prepared.script
  }

  set script(script: Script) {
    this.prepared = prepare(script)
  }

  get maxStreams(): { readonly before: number; readonly after: number } {
    return this.prepared.maxStreams
  }

  readonly react = (connection: Connection, request: Incoming): Answers.Reacted => {
    const now = this.options.now()
    const { apps, dead } = this.prepared
    const kind = kindOf(request.path)
    const idHeader = kind === "push" || request.headers["apns-id"] !== undefined ? "apns-id" : "apns-request-id"
    const headers = this.idsOf(request, idHeader, now)
    const refusal = check(kind, request, connection, {
      now,
      judge: this.options.judge,
      dead,
      apps,
      channels: this.channels
    })
    if (kind !== "channels") {
      return this.push(connection, request, headers, { refusal, kind, apnsId: headers[idHeader]!, now })
    }
    return {
      reaction: refusal === undefined ? this.manage(request, headers) : this.refuse(headers, refusal),
      disown: () => {}
    }
  }

  /** Call it after each reaction. */
  readonly reacted = (connection: Connection): void => {
    const { patience, script: { goaway } } = this.prepared
    const every = goaway?.everyPushes
    if (every !== undefined && connection.pushes % every === 0) connection.goaway(goawayOf(goaway!, this.options.now()))
    if (connection.refusals >= patience.refusals || connection.badTokens >= patience.badTokens) {
      connection.goaway()
    }
  }

  private push(
    connection: Connection,
    request: Incoming,
    headers: Headers,
    { apnsId, kind, now, refusal }: {
      readonly refusal: Refusal | undefined
      readonly kind: Exclude<ReturnType<typeof kindOf>, "channels">
      readonly apnsId: string
      readonly now: number
    }
  ): Answers.Reacted {
    const target = kind === "push" ? tokenOf(request.path) : request.headers["apns-channel-id"] ?? ""
    const behaviour = refusal === undefined ? this.prepared.decide(target) : undefined
    const reaction = refusal !== undefined ? this.refuse(headers, refusal) : this.behave(headers, behaviour)
    const status = Answers.statusOf(reaction)
    const reason = refusal?.reason ?? (behaviour?._tag === "Refuse" ? behaviour.reason : undefined)
    connection.pushes++
    if (status === 200) this.accepted(connection)
    else if (status !== undefined && status < 500 && status !== 410) this.refused(connection, reason)
    const disown = this.options.record({
      connection: connection.number,
      at: now,
      target,
      headers: request.headers,
      body: request.body,
      apnsId,
      status,
      reason
    })
    return { reaction, disown }
  }

  private idsOf(request: Incoming, idHeader: string, now: number): Headers {
    const given = request.headers[idHeader]
    const id = given !== undefined && isUuid(given) ? given : Uuid.v7(now)
    return this.options.environment === "sandbox" && idHeader === "apns-id"
      ? { [idHeader]: id, "apns-unique-id": Uuid.v7(now) }
      : { [idHeader]: id }
  }

  private answer(headers: Headers, status: number, body: string): Answers.Reaction {
    return Answers.answer(headers, status, body, this.prepared)
  }

  private refuse(headers: Headers, { reason, timestamp }: Refusal): Answers.Reaction {
    return this.answer(
      { ...headers, "content-type": "application/json" },
      Reason.table[reason].status,
      JSON.stringify(timestamp === undefined ? { reason } : { reason, timestamp })
    )
  }

  private behave(headers: Headers, behaviour: Behaviour | undefined): Answers.Reaction {
    if (behaviour?._tag !== "Refuse") {
      return Base.reactionOf(behaviour, { headers, status: 200, body: "", delay: this.prepared.delay })
    }
    return this.refuse({ ...headers, ...Base.retryAfterHeader(behaviour.retryAfter) }, behaviour)
  }

  /** Reacts to a request about channels that passed the checks. */
  private manage(request: Incoming, headers: Headers): Answers.Reaction {
    const answered = this.channels.answer(request)
    if ("reason" in answered) return this.refuse(headers, answered)
    const { body, channelId, status } = answered
    return this.answer(
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
  private accepted(connection: Connection): void {
    connection.refusals = connection.badTokens = 0
    if (connection.proven || connection.certificate !== undefined) return
    connection.proven = true
    connection.setMaxStreams(this.prepared.maxStreams.after)
  }

  /** After too many refusals a connection may have few streams again. */
  private refused(connection: Connection, reason: Reason.Reason | undefined): void {
    connection.refusals++
    if (reason === "BadDeviceToken") connection.badTokens++
    if (!connection.proven || connection.refusals < this.prepared.maxStreams.refusals) return
    connection.proven = false
    connection.setMaxStreams(this.prepared.maxStreams.before)
  }
}
