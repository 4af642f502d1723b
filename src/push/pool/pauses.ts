/**
 * Pauses: a service takes no more requests until a time, such as after a 429.
 *
 * Requests of a paused scope fail at once with the time that is left, so that none
 * waits in memory. A pause without a time from the service lasts 60 seconds, and
 * twice as long each time in a row, up to an hour. A random tenth is added, which
 * keeps workers apart.
 *
 * After the pause the scope starts slowly. Few of its requests are in flight at a
 * time, and twice as many after every 6 seconds with answers, which takes it to full
 * speed in a minute. Requests above that wait. A refusal starts the next pause.
 * Answers to requests from before the pause change nothing.
 */
import { type Limits, pauseMillis } from "../../internal/backoff.ts"
import { everything } from "./circuit.ts"
import type { Refusal } from "./Provider.ts"

const pauses: Limits = { firstMillis: 60_000, longestMillis: 3_600_000 }

/** The largest part of a pause that is added at random. */
const jitter = 0.1

/** How many requests a slow start has in flight at first, and above how many it has ended. */
const firstWindow = 2
const lastWindow = 1000

/** The slow start doubles its requests in flight after this time. */
const growMillis = 6000

/** A request that a pause prevents, and how long the pause still lasts. */
export interface Paused<out R> {
  readonly refusal: R
  readonly millis: number
}

/** A scope in a pause, or in the slow start after it. Times are in milliseconds. */
interface Pause<A, R> {
  /** The refusal that asked for it. */
  refusal: R
  until: number
  /** How many pauses came in a row. */
  count: number
  /** The slow start: how many requests may be in flight, and since when. */
  window: number
  windowSince: number
  running: Set<A>
  waiting: Array<A>
}

/** The pauses of one pool. `A` is a request, `R` a refusal. */
export class Pauses<A, R extends Refusal> {
  private readonly scopes = new Map<string, Pause<A, R>>()
  private readonly scopeOf: (request: A) => string
  private readonly random: () => number

  constructor(scopeOf: (request: A) => string, random: () => number) {
    this.scopeOf = scopeOf
    this.random = random
  }

  get isEmpty(): boolean {
    return this.scopes.size === 0
  }

  /** Whether a request waits for the slow start. */
  get hasWaiting(): boolean {
    for (const { waiting } of this.scopes.values()) if (waiting.length > 0) return true
    return false
  }

  /** The pause of all requests, while it lasts. */
  ofAll(now: number): Paused<R> | undefined {
    return this.isEmpty ? undefined : pausedBy(this.scopes.get(everything), now)
  }

  /** Decides whether to send a request. The other methods return the ones that wait. */
  admit(request: A, now: number): "Send" | "Wait" | Paused<R> {
    if (this.isEmpty) return "Send"
    const starting: Array<Pause<A, R>> = []
    for (const pause of [this.scopes.get(this.scopeOf(request)), this.scopes.get(everything)]) {
      if (pause === undefined || pause.running.has(request)) continue
      const paused = pausedBy(pause, now)
      if (paused !== undefined) return paused
      if (pause.running.size >= pause.window) {
        pause.waiting.push(request)
        return "Wait"
      }
      starting.push(pause)
    }
    for (const { running } of starting) running.add(request)
    return "Send"
  }

  /**
   * Records a refusal that asks for a pause; `asked` is its time. Returns the requests
   * that waited for the slow start, and how long the pause lasts, if it is a new one.
   */
  begin(
    scope: string,
    request: A,
    refusal: R,
    asked: number | undefined,
    now: number
  ): { readonly waited: Array<A>; readonly millis: number | undefined } {
    const known = this.scopes.get(scope)
    // Requests that were sent together ask for one pause. The longest time counts.
    if (known !== undefined && !known.running.has(request)) {
      if (asked !== undefined && now < known.until) known.until = Math.max(known.until, now + asked)
      return { waited: [], millis: undefined }
    }
    const count = (known?.count ?? 0) + 1
    const factor = 1 + this.random() * jitter
    const millis = asked === undefined ? pauseMillis(count, factor, pauses) : asked * factor
    const until = now + millis
    this.scopes.set(scope, {
      refusal,
      until,
      count,
      window: firstWindow,
      windowSince: until,
      running: new Set(),
      waiting: []
    })
    return { waited: known?.waiting ?? [], millis }
  }

  /** Records an answer that asks for no pause. Returns the requests that may be sent now. */
  answered(request: A, now: number): Array<A> {
    const freed: Array<A> = []
    for (const [scope, pause] of this.scopes) {
      if (!pause.running.delete(request)) continue
      if (now - pause.windowSince >= growMillis) {
        pause.window *= 2
        pause.windowSince = now
      }
      if (pause.window > lastWindow) this.scopes.delete(scope)
      freed.push(...taken(pause))
    }
    return freed
  }

  /** Records a request without an answer. Returns the requests that may be sent now. */
  unanswered(request: A): Array<A> {
    const freed: Array<A> = []
    for (const pause of this.scopes.values()) if (pause.running.delete(request)) freed.push(...taken(pause))
    return freed
  }

  /** Removes and returns the waiting requests for which `holds` is true. */
  takeIf(holds: (request: A) => boolean): Array<A> {
    const taken: Array<A> = []
    for (const pause of this.scopes.values()) {
      taken.push(...pause.waiting.filter(holds))
      pause.waiting = pause.waiting.filter((request) => !holds(request))
    }
    return taken
  }
}

const pausedBy = <R>(pause: Pause<unknown, R> | undefined, now: number): Paused<R> | undefined =>
  pause !== undefined && now < pause.until ? { refusal: pause.refusal, millis: pause.until - now } : undefined

/** Takes the waiting requests that have room. */
const taken = <A>({ running, waiting, window }: Pause<A, unknown>): Array<A> =>
  waiting.splice(0, Math.max(0, window - running.size))
