/**
 * `backq work process`: a worker for process jobs, until it is idle for long
 * enough, has done its number of jobs, or is told to stop.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Handler from "../Handler.ts"
import * as Job from "../Job.ts"
import { logAnnotations, type Outcome } from "../Outcome.ts"
import * as ExitPolicy from "../process/ExitPolicy.ts"
import { ProcessRunner } from "../process/Process.ts"
import * as ProcessJob from "../process/ProcessJob.ts"
import { ProcessPayload } from "../process/ProcessPayload.ts"
import * as ProcessPolicy from "../process/ProcessPolicy.ts"
import * as Tail from "../tail/Tail.ts"
import * as Worker from "../Worker.ts"
import * as Flags from "./flags.ts"
import { withBroker } from "./root.ts"
import { Shutdown } from "./Shutdown.ts"

const config = {
  queue: Flag.String("queue").pipe(
    Flag.withDescription("A queue to serve; can be repeated. Default: process"),
    Flags.repeated
  ),
  concurrency: Flags.integer("concurrency", 1).pipe(
    Flag.withDescription("How many processes run at once. Default: 16"),
    Flags.optional
  ),
  prefetch: Flags.integer("prefetch", 0).pipe(
    Flag.withDescription("How many jobs are held ready beyond those that run. Default: 0"),
    Flags.optional
  ),
  touch: Flag.Boolean("touch").pipe(
    Flag.withDescription("Renew the leases of jobs that run (--no-touch: not). Default: yes"),
    Flag.withDefault(true)
  ),
  timeout: Flags.positiveDuration("timeout").pipe(
    Flag.withDescription("How long one attempt may take. Default: no limit"),
    Flags.optional
  ),
  poisonLimit: Flags.integer("poison-limit", 1).pipe(
    Flag.withDescription("Bury a job after it took down this many workers. Default: 5"),
    Flags.optional
  ),
  grace: Flags.duration("grace").pipe(
    Flag.withDescription("How long running processes may go on when the worker is stopped. Default: 30s"),
    Flags.optional
  ),
  idleTimeout: Flags.duration("idle-timeout").pipe(
    Flag.withDescription("Stop when there was no job for this long. Default: never"),
    Flags.optional
  ),
  maxJobs: Flags.integer("max-jobs", 1).pipe(
    Flag.withDescription("Stop after this many jobs. Default: never"),
    Flags.optional
  ),
  reconnectFor: Flags.duration("reconnect-for").pipe(
    Flag.withDescription("How long the broker may be away before the worker gives up. Default: for ever"),
    Flags.optional
  ),
  killGrace: Flags.duration("kill-grace").pipe(
    Flag.withDescription("How long after SIGTERM a process that is to end gets SIGKILL. Default: 5s"),
    Flags.optional
  ),
  shell: Flag.Boolean("shell").pipe(
    Flag.withDescription("Allow shell lines. Default: programs with arguments only"),
    Flag.withDefault(false)
  ),
  allow: Flag.String("allow").pipe(
    Flag.withMetavar("PROGRAM"),
    Flag.withDescription("Allow this program and no others; can be repeated. Default: any"),
    Flags.repeated
  ),
  allowDir: Flag.String("allow-dir").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription(
      "Allow jobs to run in and below this directory and no others; can be repeated, and the first is where jobs run that name none. Default: any"
    ),
    Flags.repeated
  ),
  allowEnv: Flag.String("allow-env").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription(
      "Allow jobs to set this variable and no others; can be repeated. Default: any, with --allow none"
    ),
    Flags.repeated
  ),
  maxTimeout: Flags.positiveDuration("max-timeout").pipe(
    Flag.withDescription("The longest timeout of a job, and that of a job without one. Default: none"),
    Flags.optional
  ),
  detach: Flag.Boolean("allow-detach").pipe(
    Flag.withNegation("no-detach"),
    Flag.withDescription(
      "May jobs start processes that nobody waits for (--no-detach: not)? Default: yes, with --max-timeout no"
    ),
    Flags.optional
  ),
  doneCodes: Flags.codes("done-codes").pipe(
    Flag.withDescription("The exit codes of success. Default: 0"),
    Flags.optional
  ),
  permanentCodes: Flags.codes("permanent-codes").pipe(
    Flag.withDescription("Exit codes that bury the job at once"),
    Flags.optional
  ),
  retryCodes: Flags.codeDelays("retry-codes").pipe(
    Flag.withDescription("Exit codes that ask for another attempt after a delay of their own, without a limit"),
    Flags.optional
  ),
  retryTimes: Flags.integer("retry-times", 0).pipe(
    Flag.withDescription("How many more attempts a failed job gets, but for --retry-codes. Default: 10"),
    Flags.optional
  ),
  retryDelay: Flags.duration("retry-delay").pipe(
    Flag.withDescription("The delay before the second attempt; it doubles each time, up to 5m. Default: 1s"),
    Flags.optional
  )
}

type Input = Command.Command.Config.Infer<typeof config>

const nonEmpty = <A>(values: ReadonlyArray<A>): readonly [A, ...Array<A>] | undefined =>
  values.length === 0 ? undefined : values as unknown as readonly [A, ...Array<A>]

/** The process job, with the retry schedule that the flags ask for. */
const jobOf = ({ retryDelay, retryTimes }: Input): Job.Job<ProcessPayload> =>
  retryDelay === undefined && retryTimes === undefined ? ProcessJob.ProcessJob : Job.make(ProcessJob.ProcessJob.name, {
    payload: ProcessPayload,
    retry: Schedule.min([Schedule.exponential(retryDelay ?? "1 second"), Schedule.spaced("5 minutes")]).pipe(
      Schedule.upTo({ times: retryTimes ?? 10 })
    )
  })

const exitPolicyOf = ({ doneCodes, permanentCodes, retryCodes }: Input): ExitPolicy.ExitPolicy =>
  ExitPolicy.make({
    done: doneCodes,
    permanent: permanentCodes,
    retryAfter: retryCodes === undefined ? undefined : Object.fromEntries(retryCodes)
  })

const policyOf = (flags: Input): ProcessPolicy.ProcessPolicy =>
  ProcessPolicy.make({
    shellLines: flags.shell,
    programs: nonEmpty(flags.allow),
    directories: nonEmpty(flags.allowDir),
    environment: nonEmpty(flags.allowEnv),
    maxTimeout: flags.maxTimeout,
    detach: flags.detach
  })

/** Runs processes until the program is told to end at once: then they get SIGTERM. */
const runner = (killGrace: Duration.Duration | undefined): Layer.Layer<ProcessRunner> =>
  Layer.effect(
    ProcessRunner,
    Effect.gen(function*() {
      const { run } = yield* ProcessRunner
      const { forced } = yield* Shutdown
      return { run: (payload) => Effect.raceFirst(run(payload), Effect.andThen(forced, Effect.interrupt)) }
    })
  ).pipe(Layer.provide(ProcessRunner.layerOptions({ grace: killGrace })))

/** Learns the number of the attempt, for the log, before the job is gone from the broker. */
const withAttempt = <R>({ job, run }: Handler.Handler<R>): Handler.Handler<R> =>
  Handler.make(job, (payload, delivery) => Effect.andThen(Effect.ignore(delivery.attempt), run(payload, delivery)))

const logDone = (outcome: Outcome): Effect.Effect<void> =>
  outcome._tag !== "Done"
    ? Effect.void
    : Effect.annotateLogs(Effect.logInfo(`done in ${outcome.duration} ms`), logAnnotations(outcome))

const process = Command.make("process", config, (flags) =>
  Effect.gen(function*() {
    const { asked } = yield* Shutdown
    // at this level the worker logs it itself
    const debug = !LogLevel.isGreaterThan(yield* References.MinimumLogLevel, "Debug")
    const handler = withAttempt(ProcessJob.handler({ exitPolicy: exitPolicyOf(flags), job: jobOf(flags) }))
    const worker = Worker.stream({ ...flags, queue: nonEmpty(flags.queue) }, handler).pipe(
      Stream.tap(Tail.offer),
      Stream.runForEach((outcome) => debug ? Effect.void : logDone(outcome)),
      Effect.provide(Layer.mergeAll(runner(flags.killGrace), ProcessPolicy.layer(policyOf(flags)), Tail.layer))
    )
    // the worker stops gracefully when it is interrupted, and the broker closes after it
    yield* withBroker(Effect.raceFirst(worker, asked), flags)
  })).pipe(
    Command.withDescription(
      "Run process jobs. Whoever can publish to the queue can run commands as this user: see --allow. " +
        "Exits with 0: idle, done or stopped, 1: usage, 2: the broker stayed unreachable, or can't be used"
    ),
    Command.withShortDescription("Run process jobs"),
    Command.withExamples([
      {
        command: "backq work process --concurrency 4 --allow convert --allow-dir /srv/images",
        description: "One program"
      },
      { command: "backq work process --idle-timeout 1m", description: "Until there is nothing left to do" }
    ])
  )

/** `backq work`. */
export const work = Command.make("work").pipe(
  Command.withDescription("Run jobs"),
  Command.withSubcommands([process])
)
