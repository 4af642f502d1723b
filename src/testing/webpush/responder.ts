/** Reacts to each message of a simulator: checks it, asks the script, and records it. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Uuid from "../../internal/uuid.ts"
import { Behaviour as Base, Connection as Answers } from "../push/index.ts"
import { check, type Subscribed } from "./checks.ts"
import { type Personality, type Refusal, refusalOf } from "./Personality.ts"
import type { Behaviour, Script } from "./Script.ts"
import type { Judged } from "./tokens.ts"

/**
 * A message that a simulator received.
 *
 * @category models
 * @since 0.1.0
 */
export interface Push {
  /** The number of its connection, from 1. */
  readonly connection: number
  /** When it arrived, in milliseconds since 1970. */
  readonly at: number
  /** The id of its subscription: the end of the endpoint. */
  readonly target: string
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The body, encrypted. */
  readonly body: Buffer
  /** What it says, if the simulator made the browser's keys. */
  readonly text: string | undefined
  /** The HTTP status of the answer; `undefined` if it had none. */
  readonly status: number | undefined
  /** Why it was refused. */
  readonly reason: Refusal | undefined
}

/** The collaborators of a responder. */
export interface Options {
  readonly personality: Personality
  readonly judge: (authorization: string | undefined) => Judged
  readonly origin: () => string
  /** The subscriptions, by their ids. */
  readonly subscriptions: ReadonlyMap<string, Subscribed>
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly script: Script
  /** Records a message. Call the returned function if it was not processed after all. */
  readonly record: (push: Push) => () => void
}

/** What a responder knows of a connection. */
export interface Peer {
  readonly number: number
  pushes: number
  readonly goaway: () => void
}

const path = /^\/push\/([\w-]+)$/

const prepare = (script: Script) => ({
  script,
  decide: Base.compile<Behaviour>(script),
  delay: script.delay === undefined ? 0 : Duration.toMillis(Duration.fromInputUnsafe(script.delay))
})

/** Reacts to messages. */
export class Responder {
  private readonly options: Options
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

  readonly react = (connection: Peer, request: Answers.Incoming): Answers.Reacted => {
    const { judge, now, personality, record, subscriptions } = this.options
    const target = path.exec(request.path)?.[1] ?? ""
    const checked = check(request, { subscribed: subscriptions.get(target), judge, personality })
    const behaviour = checked.refusal === undefined ? this.prepared.decide(target) : undefined
    const refusal = checked.refusal ?? (behaviour?._tag === "Refuse" ? behaviour.refusal : undefined)
    const reaction = refusal === undefined ? this.accept(behaviour) : this.refuse(refusal, behaviour)
    connection.pushes++
    const disown = record({
      connection: connection.number,
      at: now(),
      target,
      headers: request.headers,
      body: request.bytes,
      text: checked.text?.toString(),
      status: Answers.statusOf(reaction),
      reason: refusal
    })
    return { reaction, disown }
  }

  /** Call it after each reaction. */
  readonly reacted = (connection: Peer): void => {
    const every = this.prepared.script.goawayEvery
    if (every !== undefined && connection.pushes % every === 0) connection.goaway()
  }

  private get date(): Record<string, string> {
    return { date: DateTime.toDateUtc(DateTime.makeUnsafe(this.options.now())).toUTCString() }
  }

  private refuse(refusal: Refusal, behaviour: Behaviour | undefined): Answers.Reaction {
    const { body, headers, status } = refusalOf(this.options.personality, refusal)
    const retryAfter = behaviour?._tag === "Refuse" ? behaviour.retryAfter : undefined
    const all = { ...this.date, ...headers, ...Base.retryAfterHeader(retryAfter) }
    return Answers.answer(all, status, body, this.prepared)
  }

  private accept(behaviour: Behaviour | undefined): Answers.Reaction {
    const location = `${this.options.origin()}/message/${Uuid.v7(this.options.now())}`
    return Base.reactionOf(behaviour?._tag === "Refuse" ? undefined : behaviour, {
      headers: { location },
      status: 201,
      body: "",
      delay: this.prepared.delay
    })
  }
}
