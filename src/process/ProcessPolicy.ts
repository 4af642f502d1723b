/**
 * What a worker is willing to run. Whoever can publish to its queue can run
 * commands as the worker's user, so the worker decides what it takes.
 *
 * The policy is a `Context.Reference`. It may be provided to what runs the
 * processes (the worker) or to the `ProcessRunner`; where it is provided to
 * both, both apply, and where to neither, {@link argvOnly} holds.
 *
 * {@link check} is a pure function and works on names alone. Two parts of a
 * policy need the machine, and hold when a process starts: where its directory
 * leads ({@link checkPlace}), and what of the worker's environment it gets
 * ({@link environmentOf}).
 *
 * Limits: a file that is replaced under an allowed name is not seen, nor a
 * directory in the instant between its check and the start. A program that runs
 * other programs (`env`, `sh`, `find`, an interpreter) allows all of them once it
 * is allowed, and `directories` says where a process starts, not where it goes.
 * A process runs as the worker's user: what is not passed on of the environment
 * it can still look up, in /proc for instance.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as NodePath from "node:path"
import * as DurationInput from "../internal/durationInput.ts"
import * as OptionRules from "../internal/options.ts"
import { safeName } from "../internal/text.ts"
import { display, Refused } from "./ProcessError.ts"
import { defaultOutputLimit, maxOutputLimit as largestOutputLimit } from "./ProcessPayload.ts"
import type { ProcessPayload } from "./ProcessPayload.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What a worker is willing to run.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProcessPolicy {
  /** May a command be a line for `/bin/sh`? Such a line can run every program: where there is a list of `programs` none may. */
  readonly shellLines: boolean
  /**
   * The programs that may run. A command has to name one exactly as it stands
   * here: a bare name, which is looked up on the worker's PATH, or an absolute
   * path.
   */
  readonly programs: ReadonlySet<string> | "any"
  /**
   * The absolute paths of the directories in which, or below which, a payload
   * may run. One that asks for none runs in the first of them; where the list
   * is empty none runs.
   */
  readonly directories: ReadonlyArray<string> | "any"
  /** The names of the environment variables that a payload may set or unset. */
  readonly environment: ReadonlySet<string> | "any"
  /**
   * The names of the worker's own variables that a process gets, unless its
   * payload sets them or does without (`extendEnv: false`). `NAME*` stands for
   * all that begin so, but not for those that begin with `BACKQ_`: these hold
   * passwords and keys, and are passed on only where a name or a beginning says
   * `BACKQ_` itself.
   */
  readonly inherit: ReadonlyArray<string>
  /** The longest timeout, and the timeout of a payload without one. */
  readonly maxTimeout: Duration.Duration | undefined
  /** May a payload start a process that nobody waits for? */
  readonly detach: boolean
  /** The largest `outputLimit`: how many bytes of the end of each of stdout and stderr a payload may have kept in the worker's memory. */
  readonly maxOutputLimit: number
}

/**
 * How to {@link make} a policy.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Default: false. Refused together with a list of `programs`. */
  readonly shellLines?: boolean | undefined
  /** Default: any. */
  readonly programs?: ReadonlyArray<string> | "any" | undefined
  /** Default: any. */
  readonly directories?: ReadonlyArray<string> | "any" | undefined
  /**
   * Default: any. With a list of `programs`: none, since variables such as
   * LD_PRELOAD, PATH, NODE_OPTIONS, BASH_ENV make an allowed program run
   * something else.
   */
  readonly environment?: ReadonlyArray<string> | "any" | undefined
  /**
   * What a process gets of the worker's variables besides {@link basicVariables};
   * `["*"]` is all but those of `BACKQ_*`, and `["*", "BACKQ_BROKER"]` one more.
   * Default: `["*"]`. With a list of `programs` or of `environment`: nothing more.
   */
  readonly inherit?: ReadonlyArray<string> | undefined
  /** Default: none. */
  readonly maxTimeout?: Duration.Input | undefined
  /** Default: true. With `maxTimeout`: false, since nobody watches the time of a detached process. */
  readonly detach?: boolean | undefined
  /** In bytes, at most 16 MiB. Default: {@link defaultMaxOutputLimit}. */
  readonly maxOutputLimit?: number | undefined
}

/**
 * The options of a policy are invalid.
 *
 * @category errors
 * @since 0.1.0
 */
export class PolicyInvalid extends Schema.TaggedError<PolicyInvalid>()("PolicyInvalid", {
  /** What is wrong and what to do. */
  detail: Schema.String
}) {
  override get message() {
    return this.detail
  }
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

const contains = (directory: string, path: string): boolean =>
  path === directory || path.startsWith(directory === "/" ? directory : `${directory}/`)

const names = (list: ReadonlyArray<string> | "any"): ReadonlySet<string> | "any" =>
  list === "any" ? list : new Set(list)

/**
 * The largest `outputLimit` where a policy names none: 256 KiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMaxOutputLimit = 256 * 1024

/**
 * The worker's variables that every process gets, if the worker has them.
 *
 * @category constants
 * @since 0.1.0
 */
export const basicVariables: ReadonlyArray<string> = [
  ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR"],
  ["LANG", "LANGUAGE", "LC_*", "TZ"]
].flat()

const secret = "BACKQ_"

const isPattern = (name: string): boolean => name.endsWith("*")

/** Does one entry of `inherit` stand for all that another stands for? */
const standsFor = (entry: string, other: string): boolean => {
  if (!isPattern(entry)) return entry === other
  const start = entry.slice(0, -1)
  return other.startsWith(start) && (!other.startsWith(secret) || start.startsWith(secret))
}

/** The words that are not fit for an option, and why. */
const unfit = (
  option: string,
  words: ReadonlyArray<string> | "any" | undefined,
  must: string,
  isFit: (word: string) => boolean
): string | undefined => {
  if (words === undefined || words === "any") return undefined
  const word = words.find((word) => typeof word !== "string" || !isFit(word))
  return word === undefined ? undefined : `${option} must be ${must}, not '${safeName(String(word))}'`
}

// A line end, a blank, or a character that nobody sees at the end of a word is a mistake on its way here.
const isWord = (word: string): boolean => word !== "" && word.trim() === word && !/\p{Cc}|^\p{Cf}|\p{Cf}$/u.test(word)

const isName = (word: string): boolean => isWord(word) && !/\p{Cf}/u.test(word)

const isPath = (path: string): boolean =>
  isWord(path) && NodePath.posix.isAbsolute(path) && !path.split("/").includes("..")

const isProgram = (program: string): boolean =>
  program.includes("/")
    ? isPath(program) && NodePath.posix.normalize(program) === program && !program.endsWith("/")
    : isName(program) && program !== "." && program !== ".."

const isVariable = (name: string): boolean => isName(name) && !name.includes("=")

const isBoolean = (value: unknown): boolean => typeof value === "boolean"
const isListOrAny = (value: unknown): boolean => value === "any" || Array.isArray(value)
const isAnything = (): boolean => true

/** What each option must be. Programs without types call this, too. */
const shapes: { readonly [Name in keyof Options]-?: readonly [is: (value: unknown) => boolean, must: string] } = {
  shellLines: [isBoolean, "true or false"],
  programs: [isListOrAny, "a list, or \"any\""],
  directories: [isListOrAny, "a list, or \"any\""],
  environment: [isListOrAny, "a list, or \"any\""],
  inherit: [Array.isArray, "a list"],
  maxTimeout: [isAnything, "a duration"],
  detach: [isBoolean, "true or false"],
  maxOutputLimit: [isAnything, "a number"]
}

/** The first option of a wrong type, or with an unknown name: ignored, it would leave open what it should close. */
const misshapen = (options: Options): string | undefined => {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(shapes, name)) {
      return `a policy has no option ${safeName(name)}: its options are ${Object.keys(shapes).join(", ")}`
    }
    const [is, must] = shapes[name as keyof Options]
    if (value !== undefined && !is(value)) return `${name} must be ${must}: leave it out for its default`
  }
  return undefined
}

/** The first rule that the options break. */
const faultOf = (options: Options): string | undefined => {
  const fault = misshapen(options)
  if (fault !== undefined) return fault
  const { directories, environment, inherit, maxOutputLimit, maxTimeout, programs, shellLines } = options
  if (shellLines === true && programs !== undefined && programs !== "any") {
    return "shellLines and a list of programs (--shell and --allow) cancel each other: a shell line can run every " +
      "program. Give one of them"
  }
  const timeoutRule = maxTimeout === undefined
    ? undefined
    : OptionRules.duration(maxTimeout, { isFinite: true, isPositive: true })
  if (timeoutRule !== undefined) return `maxTimeout ${timeoutRule}: leave it out for no limit`
  const limitRule = maxOutputLimit === undefined
    ? undefined
    : OptionRules.integer(maxOutputLimit, 0, largestOutputLimit, "bytes")
  if (limitRule !== undefined) return `maxOutputLimit ${limitRule}`
  return unfit(
    "a program (programs, --allow)",
    programs,
    "a name without a slash, or an absolute path as it will be published, without . and ..",
    isProgram
  ) ??
    unfit("a directory (directories, --allow-dir)", directories, "an absolute path without ..", isPath) ??
    unfit(
      "a variable (environment, --allow-env)",
      environment,
      "a name that is not empty and without = and *",
      (name) => isVariable(name) && !name.includes("*")
    ) ??
    unfit(
      "a variable (inherit, --inherit-env)",
      inherit,
      "a name that is not empty and without =, or the beginning of some and *",
      (name) => isVariable(name) && !name.slice(0, -1).includes("*")
    )
}

/**
 * Makes a policy as {@link make} does, or fails with the first rule that the options break.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeResult = (options: Options): Result.Result<ProcessPolicy, PolicyInvalid> => {
  const detail = faultOf(options)
  if (detail !== undefined) return Result.fail(new PolicyInvalid({ detail }))
  const programs = names(options.programs ?? "any")
  const isRestricted = programs !== "any" || (options.environment !== undefined && options.environment !== "any")
  return Result.succeed({
    shellLines: options.shellLines ?? false,
    programs,
    directories: options.directories === undefined || options.directories === "any"
      ? "any"
      : options.directories.map((directory) => NodePath.posix.resolve(directory)),
    environment: names(options.environment ?? (programs === "any" ? "any" : [])),
    inherit: [...basicVariables, ...options.inherit ?? (isRestricted ? [] : ["*"])],
    maxTimeout: options.maxTimeout === undefined ? undefined : DurationInput.fromInputUnsafe(options.maxTimeout),
    detach: options.detach ?? options.maxTimeout === undefined,
    maxOutputLimit: options.maxOutputLimit ?? defaultMaxOutputLimit
  })
}

/**
 * Makes a policy; what is left out is open, with the exceptions that
 * {@link Options} names. Throws {@link PolicyInvalid} where the options can't be
 * meant: where two cancel each other, or where one holds a word such as `""`.
 *
 * **Example**
 *
 * ```ts
 * const policy = ProcessPolicy.make({
 *   programs: ["convert", "/opt/reports/bin/build"],
 *   directories: ["/srv/images"],
 *   environment: ["LANG"],
 *   maxTimeout: "10 minutes"
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): ProcessPolicy => Result.getOrThrow(makeResult(options))

/**
 * Programs with their arguments, but no shell lines; everything else is open.
 * This keeps publishers from building lines with quoting mistakes in them. It
 * does not keep a hostile one from running `["sh", "-c", ...]`: for that, list
 * the `programs`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const argvOnly: ProcessPolicy = make({})

/**
 * Everything is allowed; only the variables `BACKQ_*` are not passed on. For
 * publishers that may do all that the worker's user may.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open: ProcessPolicy = make({ shellLines: true, maxOutputLimit: largestOutputLimit })

const common = (a: ReadonlySet<string> | "any", b: ReadonlySet<string> | "any"): ReadonlySet<string> | "any" =>
  a === "any" ? b : b === "any" ? a : new Set(Array.from(a).filter((name) => b.has(name)))

/** What each of two lists covers, where an entry of one may cover several of the other. */
const overlap = (
  covers: (one: string, other: string) => boolean,
  a: ReadonlyArray<string>,
  b: ReadonlyArray<string>
): ReadonlyArray<string> =>
  Array.from(
    new Set(a.flatMap((one) => b.flatMap((other) => covers(one, other) ? [other] : covers(other, one) ? [one] : [])))
  )

/**
 * Allows what both policies allow.
 *
 * @category constructors
 * @since 0.1.0
 */
export const both = (a: ProcessPolicy, b: ProcessPolicy): ProcessPolicy => ({
  shellLines: a.shellLines && b.shellLines,
  programs: common(a.programs, b.programs),
  directories: a.directories === "any"
    ? b.directories
    : b.directories === "any"
    ? a.directories
    : overlap(contains, a.directories, b.directories),
  environment: common(a.environment, b.environment),
  inherit: overlap(standsFor, a.inherit, b.inherit),
  maxTimeout: a.maxTimeout === undefined || b.maxTimeout === undefined
    ? a.maxTimeout ?? b.maxTimeout
    : Duration.min(a.maxTimeout, b.maxTimeout),
  detach: a.detach && b.detach,
  maxOutputLimit: Math.min(a.maxOutputLimit, b.maxOutputLimit)
})

/**
 * The policy in force.
 *
 * @category services
 * @since 0.1.0
 */
export const ProcessPolicy = Context.Reference<ProcessPolicy>("backq/process/ProcessPolicy", {
  defaultValue: () => argvOnly
})

/**
 * The policy that somebody provided here; without one, `undefined`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const provided: Effect.Effect<ProcessPolicy | undefined> = Effect.contextWith((context) =>
  Effect.succeed(Context.getOrUndefined(context, ProcessPolicy))
)

// -----------------------------------------------------------------------------
// The check
// -----------------------------------------------------------------------------

const listed = (values: Iterable<string>): string => {
  const all = Array.from(values)
  return all.length === 0 ? "none" : display(all)
}

type Rule = (policy: ProcessPolicy, payload: ProcessPayload) => string | undefined

const shellLines: Rule = (policy, { command }) =>
  typeof command !== "string" || policy.shellLines
    ? undefined
    : "shell lines are off: publish the program and its arguments as an array, or start the worker with --shell (shellLines)"

const programs: Rule = (policy, { command }) => {
  if (policy.programs === "any") return undefined
  if (typeof command === "string") {
    return `a shell line can run every program, and these are allowed: ${listed(policy.programs)}. ` +
      "Publish the program and its arguments as an array"
  }
  const program = command[0]
  // A relative path depends on `cwd`, so that no list can mean it.
  const relative = program.includes("/") && !NodePath.posix.isAbsolute(program)
  return !relative && policy.programs.has(program)
    ? undefined
    : `${display([program])} is not among the allowed programs: ${listed(policy.programs)}. ` +
      "Name one exactly as this list does"
}

const environment: Rule = (policy, { env = {} }) => {
  const allowed = policy.environment
  if (allowed === "any") return undefined
  const refused = Object.keys(env).filter((name) => !allowed.has(name))
  return refused.length > 0
    ? `${listed(refused)} may not be set or unset; allowed: ${listed(allowed)}`
    : undefined
}

const detach: Rule = (policy, payload) =>
  payload.detach !== true || policy.detach
    ? undefined
    : "processes that nobody waits for are off: publish it without detach, or start the worker with --allow-detach (detach)"

const directories: Rule = (policy, { cwd }) => {
  if (policy.directories === "any") return undefined
  if (cwd === undefined) return policy.directories.length === 0 ? "no directory is allowed" : undefined
  const path = NodePath.posix.normalize(cwd)
  return NodePath.posix.isAbsolute(cwd) && policy.directories.some((directory) => contains(directory, path))
    ? undefined
    : `${display([cwd])} is not in an allowed directory: ${listed(policy.directories)}${
      NodePath.posix.isAbsolute(cwd) ? "" : ". Write an absolute path"
    }`
}

const maxTimeout: Rule = ({ maxTimeout: max }, { timeout }) =>
  max === undefined || timeout === undefined ||
    Duration.isLessThanOrEqualTo(DurationInput.fromInputUnsafe(timeout), max)
    ? undefined
    : `a timeout of ${Duration.format(DurationInput.fromInputUnsafe(timeout))} is longer than the allowed ${
      Duration.format(max)
    }`

const maxOutputLimit: Rule = ({ maxOutputLimit: max }, { outputLimit }) =>
  outputLimit === undefined || outputLimit <= max
    ? undefined
    : `an outputLimit of ${outputLimit} bytes is larger than the allowed ${max}: ask for less, have the process write ` +
      "to a file, or start the worker with a larger --max-output (maxOutputLimit)"

const rules = Object.entries({
  shellLines,
  programs,
  environment,
  detach,
  directories,
  maxTimeout,
  maxOutputLimit
}) as ReadonlyArray<
  [Refused["rule"], Rule]
>

/**
 * Decides whether a payload may run. What comes back is what is to be run: with
 * the policy's timeout where it had none, in the first allowed directory where
 * it asked for none, and with no more output kept than is allowed; a `cwd` comes
 * back without `.` and `..`.
 *
 * @category functions
 * @since 0.1.0
 */
export const check = (policy: ProcessPolicy, payload: ProcessPayload): Result.Result<ProcessPayload, Refused> => {
  for (const [rule, broken] of rules) {
    const detail = broken(policy, payload)
    if (detail !== undefined) return Result.fail(new Refused({ rule, detail }))
  }
  const { cwd, detach, outputLimit, timeout } = payload
  return Result.succeed({
    ...payload,
    ...(policy.maxTimeout === undefined || timeout !== undefined || detach === true
      ? undefined
      : { timeout: policy.maxTimeout }),
    ...(policy.directories === "any" ? undefined : { cwd: NodePath.posix.normalize(cwd ?? policy.directories[0]!) }),
    ...(outputLimit !== undefined || policy.maxOutputLimit >= defaultOutputLimit
      ? undefined
      : { outputLimit: policy.maxOutputLimit })
  })
}

// -----------------------------------------------------------------------------
// At the start of a process
// -----------------------------------------------------------------------------

/**
 * Follows all links of a path; `undefined` where there is nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type RealPath = (path: string) => string | undefined

/**
 * Decides about the directory that a payload's `cwd` leads to, links followed:
 * it has to be in an allowed one, links of that followed too. What comes back is
 * the path without links, to run in; it holds for as long as nobody puts a link
 * in the place of a directory on it.
 *
 * @category functions
 * @since 0.1.0
 */
export const checkPlace = (
  policy: ProcessPolicy,
  cwd: string,
  real: string,
  realPath: RealPath
): Result.Result<string, Refused> => {
  if (policy.directories === "any") return Result.succeed(cwd)
  const isAllowed = policy.directories.some((directory) => {
    const place = realPath(directory)
    return place !== undefined && contains(place, real)
  })
  return isAllowed ? Result.succeed(real) : Result.fail(
    new Refused({
      rule: "directories",
      detail: `${display([cwd])} leads to ${display([real])}, which is not in an allowed directory: ${
        listed(policy.directories)
      }`
    })
  )
}

/**
 * The environment of a process: what it is given of the worker's, then what its payload sets and unsets.
 *
 * @category functions
 * @since 0.1.0
 */
export const environmentOf = (
  policy: ProcessPolicy,
  { env = {}, extendEnv }: Pick<ProcessPayload, "env" | "extendEnv">,
  own: Readonly<Record<string, string | undefined>>
): Record<string, string | undefined> => {
  // without a prototype every name is a name
  const environment: Record<string, string | undefined> = Object.create(null)
  if (extendEnv !== false) {
    for (const [name, value] of Object.entries(own)) {
      if (policy.inherit.some((entry) => standsFor(entry, name))) environment[name] = value
    }
  }
  for (const [name, value] of Object.entries(env)) {
    if (value === null) delete environment[name]
    else environment[name] = value
  }
  return environment
}

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * Puts a policy in force.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (policy: ProcessPolicy): Layer.Layer<never> => Layer.succeed(ProcessPolicy, policy)
