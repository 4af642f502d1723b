/**
 * What a worker is willing to run. Whoever can publish to its queue can run
 * commands as the worker's user, so the worker decides what it takes.
 *
 * The policy is a `Context.Reference`. It may be provided to what runs the
 * processes (the worker) or to the `ProcessRunner`; where it is provided to
 * both, both apply, and where to neither, {@link argvOnly} holds. {@link check}
 * is a pure function and works on names alone; it looks at no file. Hence the limits: a link or a file that is replaced under an allowed
 * name is not seen, and a program that runs other programs (`env`, `sh`,
 * `find`, an interpreter) allows all of them once it is allowed.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as NodePath from "node:path"
import { display, Refused } from "./ProcessError.ts"
import type { ProcessPayload } from "./ProcessPayload.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** What a worker is willing to run. */
export interface ProcessPolicy {
  /** May a command be a line for `/bin/sh`? Such a line can run every program: it makes `programs` void. */
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
  /**
   * The names of the environment variables that a payload may set or unset.
   * With a list, `extendEnv: false` is refused, since it unsets the others.
   */
  readonly environment: ReadonlySet<string> | "any"
  /** The longest timeout, and the timeout of a payload without one. */
  readonly maxTimeout: Duration.Duration | undefined
  /** May a payload start a process that nobody waits for? */
  readonly detach: boolean
}

/** How to {@link make} a policy. */
export interface Options {
  /** Default: false. */
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
  /** Default: none. */
  readonly maxTimeout?: Duration.Input | undefined
  /** Default: true. With `maxTimeout`: false, since nobody watches the time of a detached process. */
  readonly detach?: boolean | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

const contains = (directory: string, path: string): boolean =>
  path === directory || path.startsWith(directory === "/" ? directory : `${directory}/`)

const names = (list: ReadonlyArray<string> | "any"): ReadonlySet<string> | "any" =>
  list === "any" ? list : new Set(list)

/**
 * Makes a policy; what is left out is open, with the exceptions that
 * {@link Options} names.
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
 */
export const make = (options: Options): ProcessPolicy => ({
  shellLines: options.shellLines ?? false,
  programs: names(options.programs ?? "any"),
  directories: options.directories === undefined || options.directories === "any"
    ? "any"
    : options.directories.map((directory) => NodePath.posix.resolve(directory)),
  environment: names(
    options.environment ?? (options.programs === undefined || options.programs === "any" ? "any" : [])
  ),
  maxTimeout: options.maxTimeout === undefined ? undefined : Duration.fromInputUnsafe(options.maxTimeout),
  detach: options.detach ?? options.maxTimeout === undefined
})

/**
 * Programs with their arguments, but no shell lines; everything else is open.
 * This keeps publishers from building lines with quoting mistakes in them. It
 * does not keep a hostile one from running `["sh", "-c", ...]`: for that, list
 * the `programs`.
 */
export const argvOnly: ProcessPolicy = make({})

/** Everything is allowed. For publishers that may do all that the worker's user may. */
export const open: ProcessPolicy = make({ shellLines: true })

const common = (a: ReadonlySet<string> | "any", b: ReadonlySet<string> | "any"): ReadonlySet<string> | "any" =>
  a === "any" ? b : b === "any" ? a : new Set(Array.from(a).filter((name) => b.has(name)))

const commonDirectories = (
  a: ReadonlyArray<string> | "any",
  b: ReadonlyArray<string> | "any"
): ReadonlyArray<string> | "any" =>
  a === "any" ?
    b :
    b === "any" ?
    a :
    a.flatMap((one) => b.flatMap((other) => contains(one, other) ? [other] : contains(other, one) ? [one] : []))

/** Allows what both policies allow. */
export const both = (a: ProcessPolicy, b: ProcessPolicy): ProcessPolicy => ({
  shellLines: a.shellLines && b.shellLines,
  programs: common(a.programs, b.programs),
  directories: commonDirectories(a.directories, b.directories),
  environment: common(a.environment, b.environment),
  maxTimeout: a.maxTimeout === undefined || b.maxTimeout === undefined
    ? a.maxTimeout ?? b.maxTimeout
    : Duration.min(a.maxTimeout, b.maxTimeout),
  detach: a.detach && b.detach
})

/** The policy in force. */
export const ProcessPolicy = Context.Reference<ProcessPolicy>("backq/process/ProcessPolicy", {
  defaultValue: () => argvOnly
})

/** The policy that somebody provided here; without one, `undefined`. */
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
  if (typeof command === "string" || policy.programs === "any") return undefined
  const program = command[0]
  // A relative path depends on `cwd`, so that no list can mean it.
  const relative = program.includes("/") && !NodePath.posix.isAbsolute(program)
  return !relative && policy.programs.has(program)
    ? undefined
    : `${display([program])} is not among the allowed programs: ${listed(policy.programs)}. ` +
      "Name one exactly as this list does"
}

const environment: Rule = (policy, { env = {}, extendEnv }) => {
  const allowed = policy.environment
  if (allowed === "any") return undefined
  const refused = Object.keys(env).filter((name) => !allowed.has(name))
  if (refused.length > 0) return `${listed(refused)} may not be set or unset; allowed: ${listed(allowed)}`
  return extendEnv === false ? "extendEnv can't be false here: it would unset the worker's variables" : undefined
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
  max === undefined || timeout === undefined || Duration.isLessThanOrEqualTo(Duration.fromInputUnsafe(timeout), max)
    ? undefined
    : `a timeout of ${Duration.format(Duration.fromInputUnsafe(timeout))} is longer than the allowed ${
      Duration.format(max)
    }`

const rules = Object.entries({ shellLines, programs, environment, detach, directories, maxTimeout }) as ReadonlyArray<
  [Refused["rule"], Rule]
>

/**
 * Decides whether a payload may run. What comes back is what is to be run: with
 * the policy's timeout where it had none, and in the first allowed directory
 * where it asked for none; a `cwd` comes back without `.` and `..`, so that no
 * link can make it lead out of an allowed directory.
 */
export const check = (policy: ProcessPolicy, payload: ProcessPayload): Result.Result<ProcessPayload, Refused> => {
  for (const [rule, broken] of rules) {
    const detail = broken(policy, payload)
    if (detail !== undefined) return Result.fail(new Refused({ rule, detail }))
  }
  const limited = policy.maxTimeout !== undefined && payload.timeout === undefined && payload.detach !== true
    ? { ...payload, timeout: policy.maxTimeout }
    : payload
  return Result.succeed(
    policy.directories === "any"
      ? limited
      : { ...limited, cwd: NodePath.posix.normalize(payload.cwd ?? policy.directories[0]!) }
  )
}

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/** Puts a policy in force. */
export const layer = (policy: ProcessPolicy): Layer.Layer<never> => Layer.succeed(ProcessPolicy, policy)
