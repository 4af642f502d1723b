/**
 * The queue of waiting requests, the oldest first. Requests that were put back come
 * before new ones and keep their order. Otherwise new requests would overtake some of
 * them each time that a server refuses all but the first.
 */
import * as MutableList from "effect/MutableList"

const take = <A>(list: MutableList.MutableList<A>): A | undefined => {
  const taken = MutableList.take(list)
  return taken === MutableList.Empty ? undefined : taken
}

const takeIf = <A>(list: MutableList.MutableList<A>, holds: (request: A) => boolean): Array<A> => {
  const taken = MutableList.toArray(list).filter(holds)
  if (taken.length > 0) MutableList.filter(list, (request) => !holds(request))
  return taken
}

const takeWhile = <A>(list: MutableList.MutableList<A>, holds: (request: A) => boolean): Array<A> => {
  const end = MutableList.toArray(list).findIndex((request) => !holds(request))
  return MutableList.takeN(list, end < 0 ? list.length : end)
}

/** The queue of waiting requests. */
export class Waiting<A> {
  private readonly back = MutableList.make<A>()
  private readonly fresh = MutableList.make<A>()

  get size(): number {
    return this.back.length + this.fresh.length
  }

  put(request: A): void {
    MutableList.append(this.fresh, request)
  }

  putBack(request: A): void {
    MutableList.append(this.back, request)
  }

  take(): A | undefined {
    return take(this.back) ?? take(this.fresh)
  }

  takeAll(): Array<A> {
    return this.takeWhile(() => true)
  }

  /** Takes the put-back requests for which `holds` is true, and the new ones up to the first for which it is false. */
  takeWhile(holds: (request: A) => boolean): Array<A> {
    return [...takeIf(this.back, holds), ...takeWhile(this.fresh, holds)]
  }

  /** Takes the requests for which `holds` is true. */
  takeIf(holds: (request: A) => boolean): Array<A> {
    return [...takeIf(this.back, holds), ...takeIf(this.fresh, holds)]
  }
}
