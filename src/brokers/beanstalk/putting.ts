/**
 * Puts on the shared connection.
 *
 * All puts of one call leave in one write. A body above the server's limit is not
 * sent. If the `use` before a put failed, the server has put the job into another
 * tube, and the job is deleted again.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { type Broker, checkQueue, type JobId, type PutRequest } from "../../Broker.ts"
import * as BrokerError from "../../BrokerError.ts"
import { Checked } from "../shared/index.ts"
import type { Command } from "./command.ts"
import type { Connection } from "./Connection.ts"
import type { Answer } from "./pipeline.ts"
import { failure, tooBig, wholeSeconds } from "./replies.ts"
import { type OpenConnection, type SharedConnection, unanswered, type Use } from "./sharedConnection.ts"

type Put = Result.Result<JobId, BrokerError.BrokerError>

const command = (request: PutRequest): Command => ({
  _tag: "Put",
  priority: request.priority,
  delay: wholeSeconds(request.delay),
  ttr: wholeSeconds(request.ttr),
  body: request.body
})

const deleteAll = (connection: Connection, ids: ReadonlyArray<string>): void => {
  connection.submit(ids.map((id) => ({ _tag: "Delete", id })), () => {})
}

const failAll = (requests: ReadonlyArray<PutRequest>, error: BrokerError.BrokerError): ReadonlyArray<Put> =>
  requests.map(() => Result.fail(error))

const accepted = (
  broker: string,
  { connection, greeting }: OpenConnection,
  queue: string,
  request: PutRequest,
  answer: Answer | undefined
): Put => {
  switch (answer?._tag) {
    case "Inserted":
      return Result.succeed(answer.id as JobId)
    // The server has no memory to queue the job, and has buried it. The put fails, so the job is deleted.
    case "Buried":
      if (answer.id !== undefined) deleteAll(connection, [answer.id])
      return Result.fail(BrokerError.make(new BrokerError.OutOfMemory({ broker })))
    case "JobTooBig":
      return tooBig(queue, request.body.length, greeting.maxJobSize)
    default:
      return failure(broker, "Put", answer)
  }
}

const resultOf = (
  shared: SharedConnection,
  open: OpenConnection,
  queue: string,
  request: PutRequest,
  answer: Answer | undefined,
  use: Use
): Put => {
  if (use.failure === undefined) return accepted(shared.name, open, queue, request, answer)
  // The job is in the tube that was used before.
  if (answer?._tag === "Inserted") deleteAll(open.connection, [answer.id])
  return unanswered(answer) ?? Result.fail(use.failure)
}

/** Puts jobs on a queue over one connection. */
export const putMany = (
  shared: SharedConnection,
  open: OpenConnection,
  queue: string,
  requests: ReadonlyArray<PutRequest>
): Effect.Effect<ReadonlyArray<Put>> => {
  const limit = open.greeting.maxJobSize
  const sizes = requests.map(({ body }) => body.length > limit ? tooBig(queue, body.length, limit) : Result.void)
  const fitting = Checked.passed(requests, sizes)
  if (fitting.length === 0) return Effect.succeed(Checked.merge(sizes, []))
  return Effect.map(
    shared.inQueue(open, queue, fitting.map(command)),
    ({ answers, use }) =>
      Checked.merge(sizes, fitting.map((request, i) => resultOf(shared, open, queue, request, answers[i], use)))
  )
}

/** The broker's `put`. Programs call this most, so it allocates no lists. */
export const put = (shared: SharedConnection): Broker["Service"]["put"] => (queue, request) => {
  const checked = checkQueue(queue)
  if (Result.isFailure(checked)) return Effect.fail(checked.failure)
  return Effect.flatMap(shared.current, (open) => {
    const limit = open.greeting.maxJobSize
    if (request.body.length > limit) return Effect.fromResult(tooBig(queue, request.body.length, limit))
    return Effect.flatMap(
      shared.inQueue(open, queue, [command(request)]),
      ({ answers: [answer], use }) => Effect.fromResult(resultOf(shared, open, queue, request, answer, use))
    )
  })
}

/** The broker's `putAll`. */
export const putAll = (shared: SharedConnection): Broker["Service"]["putAll"] => (queue, requests) => {
  const checked = checkQueue(queue)
  if (Result.isFailure(checked)) return Effect.succeed(failAll(requests, checked.failure))
  if (requests.length === 0) return Effect.succeed([])
  return Effect.matchEffect(shared.current, {
    onFailure: (error) => Effect.succeed(failAll(requests, error)),
    onSuccess: (open) => putMany(shared, open, queue, requests)
  })
}
