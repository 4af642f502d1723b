/** Reacts to each request of a simulator: checks it in Google's order, asks the script, answers, and records pushes. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import { parseJson } from "../../internal/json.ts"
import { Behaviour, Connection } from "../push/index.ts"
import { page, type Refusal, refusal } from "./answers.ts"
import { checkMessage, isRefusal } from "./messageChecks.ts"
import type { Goaway, Quota, Script } from "./Script.ts"
import type { TokenHost } from "./tokenHost.ts"

/**
 * A push that a simulator received.
 *
 * @category models
 * @since 0.1.0
 */
export interface Push {
  /** The number of its connection. */
  readonly connection: number
  /** When it arrived, in milliseconds since 1970. */
  readonly at: number
  readonly project: string
  /** The token, installation id, topic or condition. */
  readonly target: string
  /** The message with its target, and underscores in its names; `undefined` if it could not be read. */
  readonly message: Readonly<Record<string, unknown>> | undefined
  /** Whether it was only checked. */
  readonly isDryRun: boolean
  /** The HTTP status of the answer; `undefined` if the script left it unanswered or a GOAWAY disowned it. */
  readonly status: number | undefined
  /** The code of FcmError or Google's status, if the push was refused. */
  readonly reason: string | undefined
}

/** A connection with the state that Google keeps of it. */
export class FcmConnection extends Connection.Connection {
  pushes = 0
  /** When its last request arrived, in milliseconds since 1970. */
  usedAt = 0
  /** PINGs since the last request. */
  idlePings = 0
}

/** The collaborators of a responder. */
export interface Options {
  readonly tokens: TokenHost
  readonly projects: ReadonlyArray<string>
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly script: Script
  readonly maxStreams: number
  readonly record: (push: Push) => () => void
}

const millisOf = (duration: Duration.Input | undefined, fallback: number): number =>
  duration === undefined ? fallback : Duration.toMillis(Duration.fromInputUnsafe(duration))

const prepare = (script: Script) => ({
  script,
  dead: new Set(script.dead),
  foreign: new Set(script.foreign),
  withoutKey: new Set(script.withoutKey),
  disabled: new Set(script.disabled),
  decide: Behaviour.compile(script),
  delay: millisOf(script.delay, 0),
  ahead: millisOf(script.tokens?.clockAhead, 0),
  lifetime: millisOf(script.tokens?.lifetime, 3_599_000) / 1000,
  validFrom: script.tokens?.validFrom ?? 1
})

/** The frame of a GOAWAY. */
export const goawayOf = ({ code, debug = "server_shutting_down", unprocessed }: Goaway): Connection.Goaway => ({
  code,
  debug,
  unprocessed
})

const sendPath = /^\/v1\/projects\/([^/]+)\/messages:send$/

const jsonOf = (text: string): Readonly<Record<string, unknown>> | undefined => {
  const value = parseJson(text)
  return typeof value === "object" && value !== null ? value as Readonly<Record<string, unknown>> : undefined
}

const nothing = () => {}

/** Reacts to requests. */
export class Responder {
  /** The most streams that a connection had open at a time, and how many PINGs came. */
  peakStreams = 0
  pings = 0
  idlePings = 0
  private readonly options: Options
  private prepared: ReturnType<typeof prepare>
  private readonly used = new Map<string, Array<number>>()
  private names = 0

  constructor(options: Options) {
    this.options = options
    this.prepared = prepare(options.script)
  }

  get script(): Script {
    return this.prepared.script
  }

  set script(script: Script) {
    this.prepared = prepare(script)
    this.used.clear()
  }

  private get now(): number {
    return this.options.now() + this.prepared.ahead
  }

  readonly react = (connection: FcmConnection, request: Connection.Incoming): Connection.Reacted => {
    connection.usedAt = this.options.now()
    connection.idlePings = 0
    this.peakStreams = Math.max(this.peakStreams, connection.streams)
    if (connection.streams > this.options.maxStreams) {
      connection.goaway({ code: 1, debug: "exceeded_max_concurrent_streams", unprocessed: 1 })
    }
    const path = request.path.split("?")[0]!
    if (path === "/token") return { reaction: this.token(request), disown: nothing }
    if (path === "/iid/v1:batchAdd" || path === "/iid/v1:batchRemove") {
      return { reaction: this.topics(request), disown: nothing }
    }
    return this.push(connection, request, path)
  }

  readonly reacted = (connection: FcmConnection): void => {
    const { goaway } = this.script
    const every = goaway?.everyPushes
    if (every !== undefined && connection.pushes > 0 && connection.pushes % every === 0) {
      connection.goaway(goawayOf(goaway!))
    }
  }

  /** Google allows two PINGs without data between them. */
  readonly pinged = (connection: FcmConnection): void => {
    this.pings++
    if (connection.streams > 0) return
    this.idlePings++
    if (++connection.idlePings >= 2) connection.goaway({ code: 11, debug: "too_many_pings" })
  }

  private token(request: Connection.Incoming): Connection.Reaction {
    const { lifetime, script } = this.prepared
    const status = script.tokens?.status
    const answered = status === undefined
      ? this.options.tokens.answer(request, this.now, lifetime)
      : { status, body: "" }
    const headers = {
      "content-type": "application/json",
      date: DateTime.toDateUtc(DateTime.makeUnsafe(this.now)).toUTCString()
    }
    return Connection.answer(headers, answered.status, answered.body)
  }

  private refused({ body, headers, status }: Refusal): Connection.Reaction {
    return Connection.answer(headers, status, body, { delay: this.prepared.delay })
  }

  private topics(request: Connection.Incoming): Connection.Reaction {
    const { headers } = request
    const account = this.options.tokens.accountOf(headers["authorization"], this.now, this.prepared.validFrom)
    if (account === undefined || headers["access_token_auth"] !== "true") return this.refused(page(401))
    const { registration_tokens: tokens, to } = jsonOf(request.body) ?? {}
    if (!Array.isArray(tokens) || tokens.length > 1000 || typeof to !== "string" || !to.startsWith("/topics/")) {
      return this.refused(refusal(400))
    }
    const results = tokens.map((token) => this.prepared.dead.has(token) ? { error: "NOT_FOUND" } : {})
    return Connection.answer({ "content-type": "application/json" }, 200, JSON.stringify({ results }))
  }

  private push(connection: FcmConnection, request: Connection.Incoming, path: string): Connection.Reacted {
    const project = sendPath.exec(path)?.[1] ?? ""
    const root = jsonOf(request.body)
    const checked = this.check(request, path, project, root)
    const message = isRefusal(checked) ? undefined : checked
    const target = String(message?.["token"] ?? message?.["fid"] ?? message?.["topic"] ?? message?.["condition"] ?? "")
    const isDryRun = root?.["validate_only"] === true
    const known = isRefusal(checked) ? checked : this.ofTarget(target, message!, project)
    const behaviour = known === undefined && !isDryRun ? this.prepared.decide(target) : undefined
    const refusal = known ?? (behaviour?._tag === "Refuse" ? behaviour : undefined)
    const name = isDryRun ? "fake_message_id" : `0:${++this.names}`
    const reaction = refusal === undefined && behaviour?._tag !== "Refuse"
      ? Behaviour.reactionOf(behaviour, {
        headers: { "content-type": "application/json; charset=UTF-8" },
        status: 200,
        body: JSON.stringify({ name: `projects/${project}/messages/${name}` }),
        delay: this.prepared.delay
      })
      : this.refused(refusal!)
    connection.pushes++
    const disown = this.options.record({
      connection: connection.number,
      at: connection.usedAt,
      project,
      target,
      message,
      isDryRun,
      status: Connection.statusOf(reaction),
      reason: refusal?.reason
    })
    return { reaction, disown }
  }

  /** The checks before the target's own state, in Google's order. */
  private check(
    { headers, method }: Connection.Incoming,
    path: string,
    project: string,
    root: Readonly<Record<string, unknown>> | undefined
  ): Readonly<Record<string, unknown>> | Refusal {
    if (!sendPath.test(path)) return page(404)
    if (method !== "POST") return page(405)
    const account = this.options.tokens.accountOf(headers["authorization"], this.now, this.prepared.validFrom)
    if (account === undefined) {
      return refusal(401, { message: "Request had invalid authentication credentials. Expected OAuth 2 access token" })
    }
    if (!this.options.projects.includes(project)) return refusal(404, { message: "Requested entity was not found." })
    if (this.prepared.disabled.has(project)) {
      return refusal(403, { message: "The API is not enabled in the project", info: "SERVICE_DISABLED" })
    }
    if (account.project !== project) {
      return refusal(403, {
        message: "Permission 'cloudmessaging.messages.create' denied",
        info: "IAM_PERMISSION_DENIED"
      })
    }
    if (headers["content-type"]?.startsWith("application/json") !== true || root === undefined) {
      return refusal(400, { message: "Invalid JSON payload received" })
    }
    const unknown = Object.keys(root).find((name) => !["message", "validate_only", "validateOnly"].includes(name))
    if (unknown !== undefined) return refusal(400, { message: `Unknown name "${unknown}": Cannot find field.` })
    const checked = checkMessage(root["message"])
    const isDetailed = headers["x-goog-api-format-version"] === "2"
    return isRefusal(checked) && !isDetailed ? refusal(400, { errorCode: checked.reason }) : checked
  }

  /** The state of a target, and the quotas. */
  private ofTarget(
    target: string,
    message: Readonly<Record<string, unknown>>,
    project: string
  ): Refusal | undefined {
    const { dead, foreign, script: { quota = {} }, withoutKey } = this.prepared
    if (dead.has(target)) {
      return refusal(404, { errorCode: "UNREGISTERED", message: "Requested entity was not found." })
    }
    if (foreign.has(target)) return refusal(403, { errorCode: "SENDER_ID_MISMATCH", message: "SenderId mismatch" })
    if (withoutKey.has(target)) {
      return refusal(401, {
        errorCode: "THIRD_PARTY_AUTH_ERROR",
        message: "Request is missing required authentication credential. Expected OAuth 2 access token"
      })
    }
    const isTopic = message["topic"] !== undefined
    return this.exceeded(`project ${project}`, quota.project, "Quota exceeded for quota metric 'Send requests'") ??
      (isTopic
        ? this.exceeded(`topic ${target}`, quota.topic, "Topic quota exceeded")
        : this.exceeded(`device ${target}`, quota.device, "Device message rate exceeded"))
  }

  private exceeded(name: string, quota: Quota | undefined, message: string): Refusal | undefined {
    if (quota === undefined) return undefined
    const now = this.options.now()
    const recent = (this.used.get(name) ?? []).filter((at) => at > now - millisOf(quota.per, 0))
    this.used.set(name, recent)
    if (recent.length < quota.messages) {
      recent.push(now)
      return undefined
    }
    const retryAfter = quota.retryAfter === undefined ? undefined : Duration.fromInputUnsafe(quota.retryAfter)
    return refusal(429, { errorCode: "QUOTA_EXCEEDED", message, retryAfter })
  }
}
