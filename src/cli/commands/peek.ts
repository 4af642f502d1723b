/** `backq peek`: shows the jobs of a queue in one state, or jobs by their ids. It changes nothing. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { JobId } from "../../Broker.ts"
import { type BrokerError, jobNotFound } from "../../BrokerError.ts"
import { Inspector, type ListedJob, type ListedState, type ListOptions } from "../../Inspector.ts"
import * as Operator from "../../Operator.ts"
import { NotShown, UsageError } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { note, print, printJson } from "../output.ts"
import { encodeJob, showJobs } from "../render/job.ts"
import { noteOtherStates } from "../render/results.ts"
import { operate } from "../root.ts"

const byId = Effect.fnUntraced(function*(id: JobId): Effect.fn.Return<ListedJob, BrokerError, Inspector> {
  const peeked = yield* Operator.peek(id)
  if (Option.isNone(peeked)) return yield* jobNotFound(id)
  return { ...(yield* Operator.statsJob(id)), body: peeked.value.body, finishedAt: undefined }
})

const config = {
  queue: Argument.String("queue").pipe(Argument.withDescription("The queue"), Argument.optional),
  state: Flag.Literals("state", ["ready", "delayed", "reserved", "buried", "done"]).pipe(
    Flag.withDescription("The state of the jobs. Default: ready"),
    Flags.optional
  ),
  limit: Flags.integer("limit", 1).pipe(
    Flag.filter((limit) => limit <= 1000, () => "at most 1000"),
    Flag.withDescription("At most this many jobs. Default: 10"),
    Flag.withDefault(10)
  ),
  after: Flag.String("after").pipe(
    Flag.withMetavar("PLACE"),
    Flag.withDescription("Continue after the previous page: give its \"next\""),
    Flags.optional
  ),
  id: Flags.ids,
  json: Flags.json
}

const historyHint = "to keep finished jobs, set history in the URL of the worker's broker, as in sqlite:PATH?history=1d"

/** Lists jobs of a queue. If the broker can't, the error names a command that helps. */
const look = Effect.fnUntraced(function*(queue: string, options: ListOptions) {
  const { features, name } = yield* Inspector
  if (!features.canList && !Operator.isPeekable(options.state)) {
    return yield* new NotShown({
      detail: options.state === "done"
        ? `${name} keeps no finished jobs`
        : `${name} can't list ${options.state} jobs, only count them: run backq queues ${queue}`
    })
  }
  if (!features.canList && options.after !== undefined) {
    return yield* new NotShown({ detail: `${name} shows only the next job: leave out --after` })
  }
  return yield* Operator.look(queue, options)
})

const ofQueue = Effect.fnUntraced(function*(
  queue: string,
  { after, json, limit, state }: { state: ListedState; limit: number; after: string | undefined; json: boolean }
) {
  // statistics first, since a peek may create the queue; a queue that is gone may still have finished jobs
  const stats = state === "done" ? undefined : yield* Operator.statsQueue(queue)
  const { isNextOnly, jobs, next } = yield* look(queue, { state, limit, after })
  if (json) {
    yield* printJson({ jobs: jobs.map(encodeJob), next: next ?? null, isNextOnly })
    return
  }
  const now = yield* Clock.currentTimeMillis
  if (jobs.length > 0) yield* print(...showJobs(jobs, now))
  else if (stats === undefined) yield* note(`no job of ${queue} is done; ${historyHint}`)
  else yield* noteOtherStates(stats, state, ["ready", "delayed", "buried"])
  if (next !== undefined) yield* note(`there are more jobs: add --after ${next}`)
  if (isNextOnly && jobs.length > 0 && limit > 1) {
    yield* note("this is the next job; this broker does not show the jobs behind it")
  }
})

const ofIds = Effect.fnUntraced(function*(ids: ReadonlyArray<JobId>, json: boolean) {
  const jobs = yield* Effect.forEach(ids, byId)
  const now = yield* Clock.currentTimeMillis
  yield* json
    ? printJson({ jobs: jobs.map(encodeJob), next: null, isNextOnly: false })
    : print(...showJobs(jobs, now))
})

/** `backq peek`. */
export const peek = Command.make(
  "peek",
  config,
  ({ after, id: ids, json, limit, queue, state }) =>
    Effect.gen(function*() {
      if (Option.isSome(queue) === ids.length > 0) {
        return yield* new UsageError({
          detail: "either a queue or --id must be given: write backq peek mail, or backq peek --id 42"
        })
      }
      if (Option.isSome(queue)) {
        return yield* operate(ofQueue(queue.value, { state: state ?? "ready", limit, after, json }))
      }
      if (state !== undefined || after !== undefined) {
        return yield* new UsageError({
          detail: "--state and --after must be used with a queue: leave them out with --id"
        })
      }
      yield* operate(ofIds(ids, json))
    })
).pipe(
  Command.withDescription(
    "Show jobs and change nothing: the jobs of a queue in the order in which they are served, or jobs by their ids. " +
      "beanstalkd shows only the next job of a queue"
  ),
  Command.withShortDescription("Show jobs"),
  Command.withExamples([
    { command: "backq peek mail --state buried", description: "Buried jobs, and the reasons" },
    { command: "backq peek --id 42 --json", description: "One job, as JSON" }
  ])
)
