/**
 * Circuit breakers: requests that a configuration fault would make the service
 * refuse are not sent.
 *
 * A fault opens a circuit, and requests fail at once with the fault. After a pause,
 * which doubles from one second to a minute, one request is sent as a probe while
 * the others wait. Its answer closes the circuit, or opens it for a longer pause.
 * Answers to requests from before the fault change nothing.
 *
 * All requests have one circuit, and each scope has its own. A scope is a topic, for
 * instance: a key may be valid for one app and not for another.
 *
 * Effect's `CircuitBreaker` runs an Effect for each call, and fails calls that come
 * during a probe. Requests of the pool are no Effects, and they wait for the probe.
 */
import { Backoff } from "./backoff.ts"
import type { Failure } from "./Provider.ts"

/** The circuit of all requests. */
export const everything = "*"

/** Whether a request is sent, waits for a probe, or fails. */
export type Admission<E> = "Send" | "Wait" | E

interface Circuit<A, E> {
  fault: E
  readonly backoff: Backoff
  /** The request that tests whether the fault is fixed. */
  probe: A | undefined
  /** The requests that wait for the probe. */
  waiting: Array<A>
}

/** The open circuits. `A` is a request, `E` a fault. */
export class Circuits<A, E extends Failure> {
  private readonly open = new Map<string, Circuit<A, E>>()
  private readonly scopeOf: (request: A) => string
  private readonly random: () => number

  constructor(scopeOf: (request: A) => string, random: () => number) {
    this.scopeOf = scopeOf
    this.random = random
  }

  get areClosed(): boolean {
    return this.open.size === 0
  }

  /** Whether a request waits for a probe. */
  get hasWaiting(): boolean {
    for (const { waiting } of this.open.values()) if (waiting.length > 0) return true
    return false
  }

  /** The fault of the circuit of all requests, during its pause. */
  faultOfAll(now: number): E | undefined {
    const circuit = this.open.get(everything)
    return circuit !== undefined && circuit.backoff.isPaused(now) ? circuit.fault : undefined
  }

  /** Decides whether to send a request. `answered`, `unanswered` or `takeIf` return the ones that wait. */
  admit(request: A, now: number): Admission<E> {
    if (this.areClosed) return "Send"
    // The scope goes first: the probe of all requests must not fail for a fault of its own scope.
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
   * Records a fault: of a request, or (without one) of a connection. Returns the
   * requests that waited for the probe, which fail too, and whether the fault is
   * new.
   */
  failed(
    scope: string,
    fault: E,
    now: number,
    request?: A
  ): { readonly isNew: boolean; readonly waited: Array<A> } {
    const known = this.open.get(scope)
    // Requests that were sent together report one fault.
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

  /** Records an answer without a fault. Returns the requests that waited for it. */
  answered(request: A): Array<A> {
    return this.ofProbe(request, (scope) => this.open.delete(scope))
  }

  /** Records a request without an answer. Returns the requests that waited for it; one becomes the next probe. */
  unanswered(request: A): Array<A> {
    return this.ofProbe(request, () => {})
  }

  /** Removes and returns the waiting requests for which `holds` is true. */
  takeIf(holds: (request: A) => boolean): Array<A> {
    const taken: Array<A> = []
    for (const circuit of this.open.values()) {
      taken.push(...circuit.waiting.filter(holds))
      circuit.waiting = circuit.waiting.filter((request) => !holds(request))
    }
    return taken
  }

  /** Closes all circuits. Returns the requests that waited. */
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
