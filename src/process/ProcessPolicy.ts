/**
 * The commands that a worker may run. Publishers to its queue run commands as the
 * worker's user, so the worker decides which ones it accepts.
 *
 * The policy is a `Context.Reference`. Provide it to the worker or to the
 * `ProcessRunner`. If both have one, both apply. If none has one, {@link argvOnly}
 * applies.
 *
 * {@link check} is a pure function and only reads names. Two parts of a policy need the
 * machine and apply when a process starts: where its directory leads
 * ({@link checkPlace}), and which of the worker's variables it gets
 * ({@link environmentOf}).
 *
 * Limits: the policy does not see that a file is replaced under an allowed name, or a
 * directory between its check and the start. A program that runs other programs (`env`,
 * `sh`, `find`, an interpreter) allows all of them. `directories` limits where a process
 * starts, not where it goes. A process runs as the worker's user, so it can find
 * variables that it does not get, for instance in /proc.
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
 * The commands that a worker may run.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProcessPolicy {
  /** Whether a command may be a line for `/bin/sh`. Such a line can run every program, so a list of `programs` forbids it. */
  readonly shellLines: boolean
  /**
   * The allowed programs. A command must name one exactly as listed: a bare name, which
   * is looked up on the worker's PATH, or an absolute path.
   */
  readonly programs: ReadonlySet<string> | "any"
  /**
   * The absolute paths of the directories in which or below which a process may start. A
   * payload without `cwd` starts in the first of them. An empty list refuses every payload.
   */
  readonly directories: ReadonlyArray<string> | "any"
  /** The names of the environment variables that a payload may set or unset. */
  readonly environment: ReadonlySet<string> | "any"
  /**
   * The names of the worker's own variables that a process gets, unless its payload sets
   * them or has `extendEnv: false`. `NAME*` means all names with that prefix, except those
   * with the prefix `BACKQ_`: they hold passwords and keys, and are passed on only if the
   * entry itself starts with `BACKQ_`.
   */
  readonly inherit: ReadonlyArray<string>
  /** The maximum timeout, and the timeout of a payload without one. */
  readonly maxTimeout: Duration.Duration | undefined
  /** Whether a payload may have `detach`. */
  readonly detach: boolean
  /** The maximum `outputLimit`: the bytes of stdout and of stderr that the worker keeps in memory. */
  readonly maxOutputLimit: number
}

/**
 * The options of {@link make}.
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
   * Default: any; none with a list of `programs`, because variables such as LD_PRELOAD,
   * PATH, NODE_OPTIONS and BASH_ENV make an allowed program run another one.
   */
  readonly environment?: ReadonlyArray<string> | "any" | undefined
  /**
   * The worker's variables that a process gets besides {@link basicVariables}. `["*"]`
   * means all except `BACKQ_*`, and `["*", "BACKQ_BROKER"]` adds one of those. Default:
   * `["*"]`; none with a list of `programs` or `environment`.
   */
  readonly inherit?: ReadonlyArray<string> | undefined
  /** Default: none. */
  readonly maxTimeout?: Duration.Input | undefined
  /** Default: true; false with `maxTimeout`, which can't apply to a detached process. */
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
 * The default of `maxOutputLimit`, in bytes: 256 KiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMaxOutputLimit = 256 * 1024

/**
 * The worker's variables that every process gets.
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

/** Whether an entry of `inherit` covers all names of another. */
const covers = (entry: string, other: string): boolean => {
  if (!isPattern(entry)) return entry === other
  const start = entry.slice(0, -1)
  return other.startsWith(start) && (!other.startsWith(secret) || start.startsWith(secret))
}

/** The rule of an option that one of its words breaks, or `undefined`. */
const brokenRule = (
  option: string,
  words: ReadonlyArray<string> | "any" | undefined,
  must: string,
  isFit: (word: string) => boolean
): string | undefined => {
  if (words === undefined || words === "any") return undefined
  const word = words.find((word) => typeof word !== "string" || !isFit(word))
  return word === undefined ? undefined : `${option} must be ${must}, not '${safeName(String(word))}'`
}

// A line end, a space or an invisible character at the end of a word is a mistake.
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
const wrongType = (options: Options): string | undefined => {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(shapes, name)) {
      return `a policy has no option ${safeName(name)}: use ${Object.keys(shapes).join(", ")}`
    }
    const [is, must] = shapes[name as keyof Options]
    if (value !== undefined && !is(value)) return `${name} must be ${must}: omit it for the default`
  }
  return undefined
}

/** The first rule that the options break. */
const faultOf = (options: Options): string | undefined => {
  const fault = wrongType(options)
  if (fault !== undefined) return fault
  const { directories, environment, inherit, maxOutputLimit, maxTimeout, programs, shellLines } = options
  if (shellLines === true && programs !== undefined && programs !== "any") {
    return "shellLines and a list of programs (--shell and --allow) must not be set together, since a shell line can " +
      "run every program: remove one of them"
  }
  const timeoutRule = maxTimeout === undefined
    ? undefined
    : OptionRules.duration(maxTimeout, { isFinite: true, isPositive: true })
  if (timeoutRule !== undefined) return `maxTimeout ${timeoutRule}: omit it for no limit`
  const limitRule = maxOutputLimit === undefined
    ? undefined
    : OptionRules.integer(maxOutputLimit, 0, largestOutputLimit, "bytes")
  if (limitRule !== undefined) return `maxOutputLimit ${limitRule}`
  return brokenRule(
    "a program (programs, --allow)",
    programs,
    "a name without a slash, or an absolute path without . and .., exactly as it is published",
    isProgram
  ) ??
    brokenRule("a directory (directories, --allow-dir)", directories, "an absolute path without ..", isPath) ??
    brokenRule(
      "a variable (environment, --allow-env)",
      environment,
      "a non-empty name without = and *",
      (name) => isVariable(name) && !name.includes("*")
    ) ??
    brokenRule(
      "a variable (inherit, --inherit-env)",
      inherit,
      "a non-empty name without =, or a prefix and *",
      (name) => isVariable(name) && !name.slice(0, -1).includes("*")
    )
}

/**
 * Makes a policy like {@link make}. Fails with the first rule that the options break.
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
 * Makes a policy. An omitted option is open, with the exceptions in {@link Options}.
 * Throws {@link PolicyInvalid} if an option is invalid or two options contradict each
 * other.
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
 * Allows programs with arguments, but no shell lines; everything else is open. This
 * prevents quoting mistakes of publishers. It does not stop a hostile one from running
 * `["sh", "-c", ...]`: list the `programs` for that.
 *
 * @category constructors
 * @since 0.1.0
 */
export const argvOnly: ProcessPolicy = make({})

/**
 * Allows everything, but does not pass on the variables `BACKQ_*`. For publishers that
 * may do everything that the worker's user may.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open: ProcessPolicy = make({ shellLines: true, maxOutputLimit: largestOutputLimit })

const common = (a: ReadonlySet<string> | "any", b: ReadonlySet<string> | "any"): ReadonlySet<string> | "any" =>
  a === "any" ? b : b === "any" ? a : new Set(Array.from(a).filter((name) => b.has(name)))

/** The entries that both lists cover. An entry of one list may cover several of the other. */
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
  inherit: overlap(covers, a.inherit, b.inherit),
  maxTimeout: a.maxTimeout === undefined || b.maxTimeout === undefined
    ? a.maxTimeout ?? b.maxTimeout
    : Duration.min(a.maxTimeout, b.maxTimeout),
  detach: a.detach && b.detach,
  maxOutputLimit: Math.min(a.maxOutputLimit, b.maxOutputLimit)
})

/**
 * The current policy.
 *
 * @category services
 * @since 0.1.0
 */
export const ProcessPolicy = Context.Reference<ProcessPolicy>("backq/process/ProcessPolicy", {
  defaultValue: () => argvOnly
})

/**
 * The policy that is provided here, or `undefined`.
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
    : "the worker allows no shell lines: publish the program and its arguments as an array, or start the worker with " +
      "--shell (shellLines)"

const programs: Rule = (policy, { command }) => {
  if (policy.programs === "any") return undefined
  if (typeof command === "string") {
    return `a shell line can run every program, but the worker only allows ${listed(policy.programs)}. ` +
      "Publish the program and its arguments as an array"
  }
  const program = command[0]
  // A relative path depends on `cwd`, so it can't match a list.
  const relative = program.includes("/") && !NodePath.posix.isAbsolute(program)
  return !relative && policy.programs.has(program)
    ? undefined
    : `${display([program])} is not among the allowed programs: ${listed(policy.programs)}. ` +
      "Use a name exactly as listed"
}

const environment: Rule = (policy, { env = {} }) => {
  const allowed = policy.environment
  if (allowed === "any") return undefined
  const refused = Object.keys(env).filter((name) => !allowed.has(name))
  return refused.length > 0
    ? `the worker does not allow setting or unsetting ${listed(refused)}. Allowed: ${listed(allowed)}`
    : undefined
}

const detach: Rule = (policy, payload) =>
  payload.detach !== true || policy.detach
    ? undefined
    : "the worker allows no detached processes: publish without detach, or start the worker with --allow-detach (detach)"

const directories: Rule = (policy, { cwd }) => {
  if (policy.directories === "any") return undefined
  if (cwd === undefined) return policy.directories.length === 0 ? "the worker allows no directory" : undefined
  const path = NodePath.posix.normalize(cwd)
  return NodePath.posix.isAbsolute(cwd) && policy.directories.some((directory) => contains(directory, path))
    ? undefined
    : `${display([cwd])} is not in an allowed directory: ${listed(policy.directories)}${
      NodePath.posix.isAbsolute(cwd) ? "" : ". Use an absolute path"
    }`
}

const maxTimeout: Rule = ({ maxTimeout: max }, { timeout }) =>
  max === undefined || timeout === undefined ||
    Duration.isLessThanOrEqualTo(DurationInput.fromInputUnsafe(timeout), max)
    ? undefined
    : `the timeout must be at most ${Duration.format(max)}, not ${
      Duration.format(DurationInput.fromInputUnsafe(timeout))
    }`

const maxOutputLimit: Rule = ({ maxOutputLimit: max }, { outputLimit }) =>
  outputLimit === undefined || outputLimit <= max
    ? undefined
    : `the outputLimit must be at most ${max} bytes, not ${outputLimit}: lower it, write the output to a file, or start ` +
      "the worker with a larger --max-output (maxOutputLimit)"

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
 * Decides whether a payload may run. Returns the payload to run: with the policy's
 * timeout, directory and output limit as defaults, and with a `cwd` without `.` and `..`.
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
 * Resolves all links of a path; `undefined` if it does not exist.
 *
 * @category models
 * @since 0.1.0
 */
export type RealPath = (path: string) => string | undefined

/**
 * Decides about the directory that a payload's `cwd` leads to after its links. It must be
 * in an allowed directory after the links of that. Returns the path without links, which
 * is valid until a directory on it is replaced by a link.
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
 * The environment of a process: the worker's variables that it gets, then those that its payload sets and unsets.
 *
 * @category functions
 * @since 0.1.0
 */
export const environmentOf = (
  policy: ProcessPolicy,
  { env = {}, extendEnv }: Pick<ProcessPayload, "env" | "extendEnv">,
  own: Readonly<Record<string, string | undefined>>
): Record<string, string | undefined> => {
  // Without a prototype any name is a key.
  const environment: Record<string, string | undefined> = Object.create(null)
  if (extendEnv !== false) {
    for (const [name, value] of Object.entries(own)) {
      if (policy.inherit.some((entry) => covers(entry, name))) environment[name] = value
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
 * Sets the policy.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (policy: ProcessPolicy): Layer.Layer<never> => Layer.succeed(ProcessPolicy, policy)
