/**
 * Circuits: where the configuration is at fault, all requests would be refused
 * alike, and they are not sent.
 *
 * A fault opens a circuit: requests fail at once, with the fault. After a pause
 * that doubles from one second to a minute one of them is let through, while the
 * others wait. Its answer closes the circuit, or opens it for a longer pause.
 * Answers to what was sent earlier change nothing.
 *
 * There is one circuit for all requests, and one for each scope, which is a
 * topic for instance: a key may be good for one app and not for another.
 */
import { Backoff } from "./backoff.ts"
import type { Failure } from "./Provider.ts"

/** The circuit of all requests. */
export const everything = "*"

/** What becomes of a request that could be sent now. */
export type Admission<E> = "Send" | "Wait" | E

interface Circuit<A, E> {
  fault: E
  readonly backoff: Backoff
  /** The request that tries whether the fault is mended. */
  probe: A | undefined
  /** Those that wait for the probe. */
  waiting: Array<A>
}

/** The circuits that are open. `A` is a request, `E` a fault. */
export class Circuits<A, E extends Failure> {
  private readonly open = new Map<string, Circuit<A, E>>()
  private readonly scopeOf: (request: A) => string
  private readonly random: () => number

  constructor(scopeOf: (request: A) => string, random: () => number) {
    this.scopeOf = scopeOf
    this.random = random
  }

  /** Are all circuits closed? */
  get areClosed(): boolean {
    return this.open.size === 0
  }

  /** Does a request wait for a probe? */
  get hasWaiting(): boolean {
    for (const { waiting } of this.open.values()) if (waiting.length > 0) return true
    return false
  }

  /** The fault for which no request at all is sent now. */
  faultOfAll(now: number): E | undefined {
    const circuit = this.open.get(everything)
    return circuit !== undefined && circuit.backoff.isPaused(now) ? circuit.fault : undefined
  }

  /** May a request be sent? One that has to wait comes back from `answered`, `unanswered`, or `takeIf`. */
  admit(request: A, now: number): Admission<E> {
    if (this.areClosed) return "Send"
    // the narrower one first: a probe of all must not fail for what is wrong with its own topic
    for (const circuit of [this.open.get(this.scopeOf(request)), this.open.get(everything)]) {
      if (circuit === undefined || circuit.probe === request) continue
      if (circuit.backoff.isPaused(now)) return circuit.fault
      if (circuit.probe !== undefined) {
        circuit.waiting.push(request)
        return "Wait"
      }
      circuit.probe = request
    }
    return "Send"
  }

  /**
   * A request has met a fault, or (without one) a connection could not be
   * opened. Returns those that waited for it, which fail too, and whether the
   * fault is news.
   */
  failed(
    scope: string,
    fault: E,
    now: number,
    request?: A
  ): { readonly isNew: boolean; readonly waited: Array<A> } {
    const known = this.open.get(scope)
    // what was sent together tells of one fault
    if (known !== undefined && request !== undefined && known.probe !== request) return { isNew: false, waited: [] }
    const circuit = known ?? { fault, backoff: new Backoff(this.random), probe: undefined, waiting: [] }
    const isNew = known === undefined || known.fault.message !== fault.message
    const failed = circuit.waiting
    this.open.set(scope, circuit)
    circuit.fault = fault
    circuit.probe = undefined
    circuit.waiting = []
    circuit.backoff.failed(now, fault.message)
    return { isNew, waited: failed }
  }

  /** A request was answered without a fault. Returns those that waited for it. */
  answered(request: A): Array<A> {
    return this.ofProbe(request, (scope) => this.open.delete(scope))
  }

  /** A request ended without an answer. Returns those that waited for it: one of them is the next to try. */
  unanswered(request: A): Array<A> {
    return this.ofProbe(request, () => {})
  }

  /** Takes out those that wait and for which it holds. */
  takeIf(holds: (request: A) => boolean): Array<A> {
    const taken: Array<A> = []
    for (const circuit of this.open.values()) {
      taken.push(...circuit.waiting.filter(holds))
      circuit.waiting = circuit.waiting.filter((request) => !holds(request))
    }
    return taken
  }

  /** Closes all circuits. Returns those that waited. */
  closeAll(): Array<A> {
    const waiting = this.takeIf(() => true)
    this.open.clear()
    return waiting
  }

  private ofProbe(request: A, end: (scope: string) => void): Array<A> {
    if (this.areClosed) return []
    const waited: Array<A> = []
    for (const [scope, circuit] of this.open) {
      if (circuit.probe !== request) continue
      waited.push(...circuit.waiting)
      circuit.probe = undefined
      circuit.waiting = []
      end(scope)
    }
    return waited
  }
}
