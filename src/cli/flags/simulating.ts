/** What all simulators of the command share: flags, files, lines, and how they run. */
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { clip, safeLine } from "../../internal/text.ts"
import type { ApnsSimulator } from "../../testing/apns/index.ts"
import { UsageError } from "../exitCode.ts"
import { print, printJson, whileRead } from "../output.ts"
import { Shutdown } from "../shutdown.ts"
import { program } from "../thisProgram.ts"
import * as Flags from "./flags.ts"

// -----------------------------------------------------------------------------
// Flags
// -----------------------------------------------------------------------------

/** The word of a service for what it gets. */
type What = "push" | "message"

/** `--host`. */
export const host: Flag.Flag<string> = Flag.String("host").pipe(
  Flag.withDescription("The address to listen on. Default: 127.0.0.1"),
  Flag.withDefault("127.0.0.1")
)

/** `--port`. */
export const port = (byDefault: number): Flag.Flag<number> =>
  Flags.integer("port", 0).pipe(
    Flag.filter((port) => port <= 65_535, () => "a port from 0 to 65535"),
    Flag.withDescription(`The port to listen on; 0 picks a free port. Default: ${byDefault}`),
    Flag.withDefault(byDefault)
  )

/** `--folder`, for these files. */
export const folder = (files: string): Flag.Flag<string | undefined> =>
  Flag.String("folder").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription(
      `The folder for ${files}; created if its parent exists. Default: a temporary folder, removed at the end`
    ),
    Flags.optional
  )

/** What happens to a share of the pushes. */
export interface Refusal<out A> {
  readonly do: A
  readonly share: number
}

/** Reads REASON=SHARE. Without a share it is all pushes. */
const readRefusal = <A>(text: string, behaviourOf: (reason: string) => A | undefined): Option.Option<Refusal<A>> => {
  const [reason = "", share = "1", ...rest] = text.split("=")
  const part = /^(?:\d+(?:\.\d+)?|\.\d+)$/.test(share) ? Number(share) : NaN
  const behaviour = behaviourOf(reason)
  return behaviour !== undefined && part >= 0 && part <= 1 && rest.length === 0
    ? Option.some({ do: behaviour, share: part })
    : Option.none()
}

/** `--refuse`. */
export const refuse = <A>(options: {
  /** The behaviour that a reason names, if there is such a reason. */
  readonly behaviourOf: (reason: string) => A | undefined
  /** What a value must be, for the error about another. */
  readonly expected: string
  readonly description: string
}): Flag.Flag<ReadonlyArray<Refusal<A>>> =>
  Flag.String("refuse").pipe(
    Flag.withMetavar("REASON=SHARE"),
    Flag.filterMap((text) => readRefusal(text, options.behaviourOf), () => options.expected),
    Flag.withDescription(`${options.description}; can be repeated`),
    Flags.repeated
  )

/** `--delay`. */
export const delay: Flag.Flag<Duration.Duration | undefined> = Flags.duration("delay").pipe(
  Flag.withDescription("The delay before each answer. Default: none"),
  Flags.optional
)

/** `--goaway-every`. */
export const goawayEvery: Flag.Flag<number | undefined> = Flags.integer("goaway-every", 1).pipe(
  Flag.withDescription("Close each connection with a GOAWAY after this many pushes. Default: never"),
  Flags.optional
)

/** `--seed`. */
export const seed = (what: What): Flag.Flag<number> =>
  Flags.integer("seed", 0).pipe(
    Flag.withDescription(
      `The seed that selects which ${what === "push" ? "pushes" : "messages"} are refused. Default: 0`
    ),
    Flag.withDefault(0)
  )

/** `--json`. */
export const json = (what: What): Flag.Flag<boolean> =>
  Flag.Boolean("json").pipe(
    Flag.withDescription(`Print one JSON object per line: first its address, then each ${what}`),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )

// -----------------------------------------------------------------------------
// Files
// -----------------------------------------------------------------------------

/** A file that a client needs. */
export interface File {
  readonly name: string
  readonly content: string
  /** Default: what the system gives to new files. */
  readonly mode?: 0o600
}

/** Writes files into a folder, and returns their paths. Without a folder they are in a temporary one, until the scope closes. */
export const writeFiles = Effect.fnUntraced(function*<K extends string>(
  folder: string | undefined,
  prefix: string,
  files: Readonly<Record<K, File>>
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const at = folder ?? (yield* fs.makeTempDirectoryScoped({ prefix }))
  // not recursive: below /proc Node.js would never return
  yield* fs.makeDirectory(at).pipe(
    Effect.catchIf(({ reason }) => reason._tag === "AlreadyExists", () => Effect.void)
  )
  const paths: Partial<Record<K, string>> = {}
  for (const key in files) {
    const { content, name, ...mode } = files[key]
    const file = path.resolve(at, name)
    yield* fs.writeFileString(file, content, mode)
    paths[key] = file
  }
  return paths as Record<K, string>
})

// -----------------------------------------------------------------------------
// Lines
// -----------------------------------------------------------------------------

/** A host and a port as URLs write them. */
export const authority = ({ host, port }: { readonly host: string; readonly port: number }): string =>
  `${host.includes(":") ? `[${host}]` : host}:${port}`

/** A push and its answer, as one line of text. `parts` say which push it was. */
export const line = (
  { at, reason, status }: {
    readonly at: number
    readonly status: number | undefined
    readonly reason: string | undefined
  },
  ...parts: ReadonlyArray<string>
): string =>
  [
    DateTime.formatIso(DateTime.makeUnsafe(at)).slice(11, 23),
    reason === undefined ? String(status ?? "no answer") : `${status} ${reason}`,
    ...parts
  ].join("  ")

/** The beginning of what a push says. */
export const excerpt = (text: string): string => clip(safeLine(text), 200)

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

/** A simulator that has started. */
export interface Started<out Place, out Push> {
  /** Its address, and what a client needs to push to it. */
  readonly place: Place
  readonly changes: Stream.Stream<Push>
}

/** Starts a simulator, prints its place and each push, and ends when a signal comes. */
export const run = <Place, Push, R>({ format, introduce, json, start, toJson }: {
  readonly json: boolean
  readonly start: Effect.Effect<
    Started<Place, Push>,
    ApnsSimulator.ListenError | PlatformError.PlatformError,
    R | Scope.Scope
  >
  readonly introduce: (place: Place, program: string) => string
  readonly format: (push: Push) => string
  readonly toJson: (push: Push) => unknown
}) =>
  Effect.gen(function*() {
    const { asked } = yield* Shutdown
    const { changes, place } = yield* start
    const shown = Stream.runForEach(changes, (push) => json ? printJson(toJson(push)) : print(format(push)))
    const showing = yield* Effect.forkScoped(shown, { startImmediately: true })
    const introduced = json ? printJson(place) : print(...introduce(place, yield* program).split("\n"))
    yield* Effect.raceFirst(Effect.andThen(introduced, Fiber.join(showing)), asked)
  }).pipe(
    whileRead,
    Effect.scoped,
    Effect.catchTags({
      ListenError: ({ message }) => Effect.fail(new UsageError({ detail: message })),
      PlatformError: ({ message }) => Effect.fail(new UsageError({ detail: `--folder: ${message}` }))
    })
  )
