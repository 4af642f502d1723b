/**
 * The rules of `backq doctor`: settings that lose work, and queues that need
 * attention. Pure: observations come in, and findings with advice come out.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Features } from "../../Broker.ts"
import * as Envelope from "../../Envelope.ts"
import type { BrokerStats, Concern, ListedJob } from "../../Inspector.ts"
import { safeLine } from "../../internal/text.ts"
import { ProcessJob } from "../../process/index.ts"
import type { QueueNumbers } from "./numbers.ts"
import { jobs as countJobs, shortDuration } from "./text.ts"

/** An error loses work or prevents it. A warning may do so. A note is a limit of the broker. */
export type Level = "error" | "warning" | "note" | "ok"

/** What a rule found. */
export interface Finding {
  readonly level: Level
  /** The name of the rule, for programs. */
  readonly check: string
  readonly queue: string | undefined
  readonly message: string
  /** What to do; absent if nothing is wrong. */
  readonly todo: string | undefined
}

const finding = (level: Level, check: string, message: string, todo?: string, queue?: string): Finding => ({
  level,
  check,
  queue,
  message,
  todo
})

// -----------------------------------------------------------------------------
// The broker
// -----------------------------------------------------------------------------

/** The broker answers: how fast, and with which version. */
export const ofConnection = (millis: number, version: string): Finding =>
  finding("ok", "connection", `the broker answers within ${millis} ms; version ${safeLine(version)}`)

const lacksOf = (features: Features): ReadonlyArray<string> => [
  ...(features.canList ? [] : ["list all jobs of a queue"]),
  ...(features.canBury ? [] : ["bury a job that no worker holds"]),
  ...(features.canMove ? [] : ["move a job to another queue"]),
  ...(features.keepsReasons ? [] : ["keep the reasons of releases and burials"]),
  ...(features.keepsDone ? [] : ["list finished jobs"]),
  ...(features.keepsAttempts ? [] : ["keep the attempts of transferred jobs"]),
  ...(features.resolution === "second" ? ["count time in less than a second"] : [])
]

/** The limits of the broker, by its features. `todo` says how to lift them, if a setting does. */
export const ofFeatures = (features: Features, todo?: string): ReadonlyArray<Finding> => {
  const lacks = lacksOf(features)
  return lacks.length === 0 ? [] : [finding("note", "features", `the broker can't ${lacks.join("; ")}`, todo)]
}

/** What the broker itself is concerned about. */
export const ofConcerns = (concerns: ReadonlyArray<Concern>): ReadonlyArray<Finding> =>
  concerns.map(({ check, level, message, todo }) => finding(level, check, safeLine(message), todo))

const versionOf = (text: string): readonly [number, number] | undefined => {
  const match = /^"?(\d+)\.(\d+)/.exec(text)
  return match === null ? undefined : [Number(match[1]), Number(match[2])]
}

/** Whether this is the address of the machine itself. */
const isLocal = (host: string) => /^(localhost|127(\.\d+){3}|\[?::1\]?)$/.test(host)

/** An envelope alone takes about 200 bytes. */
const minJobBytes = 1024
/** Enough for a push with its tokens and options, or for a process with its input. */
const ampleJobBytes = 16_384

/** The largest job. `raise` says how to raise the limit of this broker. */
export const ofJobSize = ({ maxJobSize }: BrokerStats, raise: string): ReadonlyArray<Finding> => {
  if (maxJobSize >= ampleJobBytes) return []
  return maxJobSize < minJobBytes
    ? [finding(
      "error",
      "job size",
      `a job may have at most ${maxJobSize} bytes, but an envelope alone takes about 200: the broker refuses most jobs`,
      raise
    )]
    : [finding(
      "warning",
      "job size",
      `a job may have at most ${maxJobSize} bytes: the broker may refuse a push with its tokens, or a process with its input`,
      raise
    )]
}

/** beanstalkd: its settings, and the connection to it. */
export const ofBeanstalkd = (
  stats: BrokerStats,
  way: { readonly host: string; readonly tls: boolean }
): ReadonlyArray<Finding> => {
  const found: Array<Finding> = []
  found.push(
    stats.durable
      ? finding("ok", "durability", "beanstalkd keeps jobs in a log on disk (-b)")
      : finding(
        "error",
        "durability",
        "beanstalkd runs without -b: a restart or crash loses all jobs",
        "start it with -b DIR on a disk; with -f 0 jobs also survive a loss of power"
      )
  )
  if (stats.draining) {
    found.push(
      finding("error", "draining", "beanstalkd is in drain mode and accepts no jobs", "restart it to end drain mode")
    )
  }
  found.push(...ofJobSize(stats, "start it with a larger -z, or without -z for 65,535 bytes"))
  const version = versionOf(stats.version)
  if (version !== undefined && (version[0] < 1 || version[0] === 1 && version[1] < 12)) {
    found.push(
      finding(
        "warning",
        "version",
        `beanstalkd ${safeLine(stats.version)} is old: burying and moving single jobs needs 1.12`,
        "upgrade it to 1.13"
      )
    )
  }
  if (!way.tls && !isLocal(way.host)) {
    found.push(
      finding(
        "warning",
        "network",
        `the connection to ${way.host} is not encrypted, and anyone who can reach it can read, publish and delete jobs`,
        "keep it on a private network, or put TLS in front of it and use beanstalks://"
      )
    )
  }
  return found
}

/** What a mode of TLS leaves open on the way to a host. */
const networkRisk = (host: string, sslmode: string | undefined): string | undefined => {
  switch (sslmode) {
    case "disable":
      return `the connection to ${host} is not encrypted: anyone on the network path can read the password and the jobs`
    case "require":
      return `any server that stands in for ${host} is believed (sslmode=require)`
    default:
      return undefined
  }
}

/** PostgreSQL: what its settings say, and the connection to it. */
export const ofPostgres = (
  stats: BrokerStats,
  way: { readonly hosts: ReadonlyArray<{ readonly host: string }>; readonly sslmode: string | undefined }
): ReadonlyArray<Finding> => {
  const found: Array<Finding> = []
  // What is off is a concern of the broker.
  if (stats.durable) {
    found.push(
      finding("ok", "durability", "what is acknowledged is on the server's disk (fsync, synchronous_commit)")
    )
  }
  found.push(...ofJobSize(stats, "raise max-job-size in the URL, or leave it out"))
  const away = way.hosts.find(({ host }) => !isLocal(host))?.host
  const risk = away === undefined ? undefined : networkRisk(safeLine(away), way.sslmode)
  if (risk !== undefined) {
    found.push(
      finding("warning", "network", risk, "leave sslmode out of the URL; name the server's authority with ca=FILE")
    )
  }
  return found
}

/** The observed state of a file and its folder. */
export interface FileSeen {
  readonly path: string
  readonly durability: "full" | "normal"
  /** Permission bits of the file. */
  readonly mode: number
  /** Whether the file belongs to this user. */
  readonly isOwn: boolean
  /** Whether other users may enter all folders above the file. */
  readonly isReachable: boolean
  /** Whether other users may replace the file. */
  readonly isReplaceable: boolean
  /** Bytes of the write-ahead log. */
  readonly logSize: number
  /** Bytes that this user may still write, and bytes of the disk. */
  readonly free: number
  readonly size: number
  /** The type of the file system, from statfs(2). */
  readonly type: number
}

// statfs(2)
const networkTypes = new Map([[0x6969, "NFS"], [0xff534d42, "SMB"], [0xfe534d42, "SMB"], [0x517b, "SMB"]])
const memoryTypes = new Set([0x01021994, 0x858458f6])

const mebibyte = 1024 * 1024
const mib = (bytes: number) => `${Math.round(bytes / mebibyte)} MiB`

const durabilityOf = (durability: FileSeen["durability"]): Finding =>
  durability === "full"
    ? finding("ok", "durability", "an accepted job survives a loss of power (durability full)")
    : finding(
      "warning",
      "durability",
      "with durability=normal a loss of power may undo the most recent changes",
      "remove it from the URL, unless you accept that"
    )

const diskKind = (type: number): ReadonlyArray<Finding> => {
  const network = networkTypes.get(type >>> 0)
  if (network !== undefined) {
    return [finding(
      "error",
      "disk",
      `the file is on a network disk (${network}), where locks and the write-ahead log do not work`,
      "move it to a local disk"
    )]
  }
  return memoryTypes.has(type >>> 0)
    ? [finding("warning", "disk", "the file is in memory (tmpfs): a reboot loses all jobs", "move it to a disk")]
    : []
}

const diskSpace = ({ free, size }: FileSeen): ReadonlyArray<Finding> => {
  const part = size === 0 ? 1 : free / size
  if (free >= 64 * mebibyte && part >= 0.05) return []
  return [finding(
    free < 16 * mebibyte ? "error" : "warning",
    "disk",
    `the disk is nearly full: ${mib(free)} are free (${Math.round(part * 100)} %)`,
    "free some space: on a full disk backq accepts no job"
  )]
}

const logLength = (bytes: number): ReadonlyArray<Finding> =>
  bytes <= 256 * mebibyte ? [] : [finding(
    "warning",
    "log",
    `the write-ahead log has grown to ${mib(bytes)}`,
    "look for a program that keeps a transaction open on the file, and end it"
  )]

const accessOfOthers = ({ isReachable, mode, path }: FileSeen): ReadonlyArray<Finding> => {
  const others = isReachable ? mode & 0o7 : 0
  if ((others & 0o2) !== 0) {
    return [finding("error", "permissions", "every user of this machine can write to the file", `chmod o-rw ${path}*`)]
  }
  return (others & 0o4) === 0
    ? []
    : [finding("warning", "permissions", "every user of this machine can read the jobs", `chmod o-r ${path}*`)]
}

const replacement = ({ isReachable, isReplaceable }: FileSeen): ReadonlyArray<Finding> =>
  isReachable && isReplaceable
    ? [finding(
      "error",
      "permissions",
      "every user of this machine can replace the file",
      "remove the others' write permission on its folder: chmod o-w"
    )]
    : []

const owner = ({ isOwn }: FileSeen): ReadonlyArray<Finding> =>
  isOwn ? [] : [finding(
    "warning",
    "permissions",
    "the file belongs to another user",
    "run publishers, workers and operators as one user, or give the group write access to file and folder"
  )]

/** A SQLite file: its durability, its disk and its permissions. */
export const ofFile = (seen: FileSeen): ReadonlyArray<Finding> => [
  durabilityOf(seen.durability),
  ...diskKind(seen.type),
  ...diskSpace(seen),
  ...logLength(seen.logSize),
  ...accessOfOthers(seen),
  ...replacement(seen),
  ...owner(seen)
]

// -----------------------------------------------------------------------------
// Queues
// -----------------------------------------------------------------------------

const hour = Duration.hours(1)

/** One queue, by its statistics. */
export const ofQueue = (queue: QueueNumbers): ReadonlyArray<Finding> => {
  const { buried, delayed, nextAge, pausedFor, ready, reserved, idleWorkers } = queue
  const found: Array<Finding> = []
  const add = (level: Level, check: string, message: string, todo: string) =>
    found.push(finding(level, check, message, todo, queue.queue))
  if (!Duration.isZero(pausedFor)) {
    add("warning", "paused", `the queue is paused for ${shortDuration(pausedFor)}`, `backq resume ${queue.queue}`)
  } else if (ready > 0 && idleWorkers === 0 && reserved === 0) {
    add(
      "warning",
      "workers",
      `${countJobs(ready)} ready, but no worker serves the queue`,
      "start a worker for this queue"
    )
  } else if (nextAge !== undefined && Duration.isGreaterThan(nextAge, hour)) {
    add("warning", "backlog", `the next job has waited for ${shortDuration(nextAge)}`, "start more workers")
  }
  if (buried > 0) {
    const are = buried === 1 ? "is" : "are"
    add(
      "warning",
      "buried",
      `${countJobs(buried)} ${are} buried and ${buried === 1 ? "waits" : "wait"} for an operator`,
      `look at the reasons with backq peek ${queue.queue} --state buried, then kick, move or delete`
    )
  }
  if (found.length === 0 && ready + delayed + reserved > 0) {
    found.push(
      finding("ok", "queue", `${countJobs(ready + delayed + reserved)} waiting or running`, undefined, queue.queue)
    )
  }
  return found
}

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

/** How far clocks may differ before it matters. */
const maxSkewMillis = 10_000

/** What the rules for jobs need to know. */
export interface Context {
  /** Milliseconds since the epoch. */
  readonly now: number
  /** The names of the jobs that workers handle; `undefined` if not given. */
  readonly known: ReadonlyArray<string> | undefined
}

/** Why one job needs attention. */
interface Trouble {
  readonly level: Level
  readonly check: string
  readonly what: string
  readonly todo: string
}

const decodeTimeout = Schema.decodeUnknownOption(Schema.Struct({ timeout: Schema.Finite }))

/** How long the process of a process job may run. */
const processTimeout = (name: string, payload: unknown): Option.Option<Duration.Duration> =>
  name === ProcessJob.job.name
    ? Option.map(decodeTimeout(payload), ({ timeout }) => Duration.millis(timeout))
    : Option.none()

const troublesOf = (job: ListedJob, { known, now }: Context): ReadonlyArray<Trouble> => {
  const envelope = Envelope.decode(job.body)
  if (Result.isFailure(envelope)) {
    return [{
      level: "error",
      check: "body",
      what: `the body can't be read (${safeLine(envelope.failure)})`,
      todo: "give the worker a foreign decoder, or fix the publisher; until then workers bury such jobs"
    }]
  }
  const { expiresAt, job: name, payload, publishedAt } = envelope.success
  const troubles: Array<Trouble> = []
  if (known !== undefined && !known.includes(name)) {
    troubles.push({
      level: "error",
      check: "unknown",
      what: `the job is "${safeLine(name)}", which --known does not name`,
      todo: "add a handler, or move the jobs to a queue whose workers have one"
    })
  }
  const timeout = processTimeout(name, payload)
  if (Option.exists(timeout, (timeout) => Duration.isGreaterThan(timeout, job.ttr))) {
    troubles.push({
      level: "warning",
      check: "ttr",
      what: "the ttr is shorter than the timeout",
      todo: "keep touch on in the workers, or publish with a longer --ttr: otherwise such a job runs twice at once"
    })
  }
  if (expiresAt !== undefined && expiresAt < now) {
    troubles.push({
      level: "warning",
      check: "expired",
      what: "the deadline has passed, so the job will not run",
      todo: "start more workers, or give jobs a later deadline"
    })
  }
  // no finding for a clock that is behind: a moved job looks the same, because its age starts again at 0
  const ahead = publishedAt === undefined ? 0 : publishedAt + Duration.toMillis(job.age) - now
  if (ahead > maxSkewMillis) {
    troubles.push({
      level: "warning",
      check: "clock",
      what: `the publisher's clock is ${shortDuration(Duration.millis(ahead))} ahead`,
      todo: "synchronize the clocks of the machines by NTP: deadlines depend on them"
    })
  }
  if (job.abandoned >= 2) {
    troubles.push({
      level: "warning",
      check: "abandoned",
      what: "workers abandoned the job twice or more",
      todo: "look for workers that crash or hang in these jobs, or for a ttr that is too short"
    })
  }
  return troubles
}

/** Some jobs of a queue. Jobs with the same trouble share one finding, which names one of them. */
export const ofJobs = (queue: string, jobs: ReadonlyArray<ListedJob>, context: Context): ReadonlyArray<Finding> => {
  const groups = new Map<string, { readonly trouble: Trouble; readonly example: string; count: number }>()
  for (const job of jobs) {
    for (const trouble of troublesOf(job, context)) {
      const key = trouble.check === "clock" ? trouble.check : trouble.what
      const group = groups.get(key)
      if (group === undefined) groups.set(key, { trouble, example: job.id, count: 1 })
      else group.count++
    }
  }
  return Array.from(
    groups.values(),
    ({ count, example, trouble: { check, level, todo, what } }) =>
      finding(
        level,
        check,
        `${count} of ${countJobs(jobs.length)} checked: ${what} (for example job ${example})`,
        todo,
        queue
      )
  )
}
