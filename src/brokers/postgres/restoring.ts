/**
 * Puts jobs as another broker had them: one statement and one commit for the
 * jobs of a portion. A body that is too big fails alone.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { checkQueue } from "../../Broker.ts"
import { type BrokerError, make as brokerError, ProtocolViolation } from "../../BrokerError.ts"
import type { RestoreRequest } from "../../Inspector.ts"
import { Checked, Rules } from "../shared/index.ts"
import * as Driver from "./driver.ts"
import { portions, type Put } from "./puts.ts"
import { idOf, wholeMillis } from "./rows.ts"
import type { Store } from "./store.ts"

const parametersOf = (queue: string, requests: ReadonlyArray<RestoreRequest>): ReadonlyArray<unknown> => [
  queue,
  Driver.bodies(requests.map(({ body }) => body)),
  Driver.int8s(requests.map(({ priority }) => priority)),
  Driver.int8s(requests.map(({ delay }) => wholeMillis(delay))),
  Driver.int8s(requests.map(({ ttr }) => wholeMillis(ttr))),
  Driver.int4s(requests.map(({ isBuried }) => isBuried ? 1 : 0)),
  Driver.int4s(requests.map(({ attempts }) => attempts)),
  Driver.int4s(requests.map(({ abandoned }) => abandoned)),
  Driver.int4s(requests.map(({ buries }) => buries)),
  Driver.texts(requests.map(({ reason }) => reason)),
  Driver.texts(requests.map(({ lastFailure }) => lastFailure?.tag)),
  Driver.texts(requests.map(({ lastFailure }) => lastFailure?.message)),
  Driver.int8s(requests.map(({ lastFailure }) => lastFailure?.at))
]

const restorePortion = Effect.fnUntraced(function*(
  store: Store,
  queue: string,
  requests: ReadonlyArray<RestoreRequest>
): Effect.fn.Return<ReadonlyArray<Put>, BrokerError> {
  const { broker, link, sql } = store
  const parameters = parametersOf(queue, requests)
  let rows = yield* link.query(sql.restore, parameters)
  if (rows.length === 0) {
    yield* link.query(sql.openQueue, [queue])
    rows = yield* link.query(sql.restore, parameters)
  }
  if (rows.length !== requests.length) {
    const detail = `${rows.length} of ${requests.length} jobs were restored`
    return yield* brokerError(new ProtocolViolation({ broker, fate: "Unknown", detail }))
  }
  const ids = rows.map(([id]) => idOf(id))
  store.put(queue, requests, ids)
  return ids.map(Result.succeed)
})

const failAll = (requests: ReadonlyArray<RestoreRequest>) => (error: BrokerError): ReadonlyArray<Put> =>
  requests.map(() => Result.fail(error))

/** Puts jobs on a queue as another broker had them. Returns a result for each, in order. */
export const restore = (
  store: Store,
  maxJobSize: number,
  queue: string,
  requests: ReadonlyArray<RestoreRequest>
): Effect.Effect<ReadonlyArray<Put>> => {
  const checked = checkQueue(queue)
  if (Result.isFailure(checked)) return Effect.succeed(failAll(requests)(checked.failure))
  const sizes = requests.map(({ body }) => Rules.checkSize(queue, body, maxJobSize))
  const fitting = Checked.passed(requests, sizes)
  const restored = Effect.forEach(
    portions(fitting),
    (part) =>
      Effect.match(restorePortion(store, queue, part), { onFailure: failAll(part), onSuccess: (results) => results })
  )
  return Effect.map(Effect.uninterruptible(restored), (results) => Checked.merge(sizes, results.flat()))
}
