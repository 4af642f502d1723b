/** `backq peek`: the jobs of a queue in a state, or some by their ids. Changes nothing. */
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
import { complain, print, printJson } from "../output.ts"
import { encodeJob, showJobs } from "../render/job.ts"
import { operate } from "../root.ts"
import { tellWhere } from "./jobs.ts"

const byId = Effect.fnUntraced(function*(id: JobId): Effect.fn.Return<ListedJob, BrokerError, Inspector> {
  const inspector = yield* Inspector
  const peeked = yield* inspector.peek(id)
  if (Option.isNone(peeked)) return yield* jobNotFound(id)
  return { ...(yield* inspector.statsJob(id)), body: peeked.value.body, finishedAt: undefined }
})

const config = {
  queue: Argument.String("queue").pipe(Argument.withDescription("The queue"), Argument.optional),
  state: Flag.Literals("state", ["ready", "delayed", "reserved", "buried", "done"]).pipe(
    Flag.withDescription("Which of its jobs. Default: ready"),
    Flags.optional
  ),
  limit: Flags.integer("limit", 1).pipe(
    Flag.filter((limit) => limit <= 1000, () => "at most 1000"),
    Flag.withDescription("How many jobs at most. Default: 10"),
    Flag.withDefault(10)
  ),
  after: Flag.String("after").pipe(
    Flag.withMetavar("PLACE"),
    Flag.withDescription("Go on where the page before ended: the \"next\" that it told"),
    Flags.optional
  ),
  id: Flags.ids,
  json: Flags.json
}

const historyHint = "finished jobs are kept where the URL of their worker's broker says so: sqlite:PATH?history=1d"

/** Looks at a queue, and says in the operator's words what the broker does not show. */
const look = Effect.fnUntraced(function*(queue: string, options: ListOptions) {
  const { features, name } = yield* Inspector
  if (!features.canList && !Operator.isPeekable(options.state)) {
    return yield* new NotShown({
      detail: options.state === "done"
        ? `${name} keeps no finished jobs`
        : `${name} does not show which jobs are ${options.state}, only how many: backq queues ${queue}`
    })
  }
  if (!features.canList && options.after !== undefined) {
    return yield* new NotShown({ detail: `${name} shows only the next job: there is no --after` })
  }
  return yield* Operator.look(queue, options)
})

const ofQueue = Effect.fnUntraced(function*(
  queue: string,
  { after, json, limit, state }: { state: ListedState; limit: number; after: string | undefined; json: boolean }
) {
  // asked for first, since a look may make the queue; one that is gone may have jobs that are done
  const stats = state === "done" ? undefined : yield* Inspector.use((inspector) => inspector.statsQueue(queue))
  const { isNextOnly, jobs, next } = yield* look(queue, { state, limit, after })
  if (json) {
    yield* printJson({ jobs: jobs.map(encodeJob), next: next ?? null, isNextOnly })
    return
  }
  const now = yield* Clock.currentTimeMillis
  if (jobs.length > 0) yield* print(...showJobs(jobs, now))
  else if (stats === undefined) yield* complain(`no job of ${queue} is done; ${historyHint}`)
  else yield* tellWhere(stats, state, ["ready", "delayed", "buried"])
  if (next !== undefined) yield* complain(`there are more, see them with --after ${next}`)
  if (isNextOnly && jobs.length > 0 && limit > 1) {
    yield* complain("this is the next one; this broker does not show those behind it")
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
        return yield* new UsageError({ detail: "write either a queue or --id: backq peek mail, backq peek --id 42" })
      }
      if (Option.isSome(queue)) {
        return yield* operate(ofQueue(queue.value, { state: state ?? "ready", limit, after, json }))
      }
      if (state !== undefined || after !== undefined) {
        return yield* new UsageError({ detail: "--state and --after are for a queue, not for --id" })
      }
      yield* operate(ofIds(ids, json))
    })
).pipe(
  Command.withDescription(
    "Look at jobs and change nothing: those of a queue in the order in which they are served, or some by their ids. " +
      "beanstalkd shows only the next job of a queue"
  ),
  Command.withShortDescription("Look at jobs"),
  Command.withExamples([
    { command: "backq peek mail --state buried", description: "What was put aside, and why" },
    { command: "backq peek --id 42 --json", description: "One job, for a machine" }
  ])
)
