/** Kinds of flags for push services, and the variables of the environment that they override. */
import * as Flag from "effect/cli/Flag"
import * as ConfigProvider from "effect/ConfigProvider"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { UsageError } from "../exitCode.ts"
import * as Flags from "./flags.ts"

/** A text. `variable` says what holds without the flag. */
export const text = (name: string, variable: string, description: string): Flag.Flag<string | undefined> =>
  Flag.String(name).pipe(Flag.withDescription(`${description}. Default: ${variable}`), Flags.optional)

/** The path of a file. */
export const file = (name: string, variable: string, description: string): Flag.Flag<string | undefined> =>
  text(name, variable, description).pipe(Flag.withMetavar("FILE"))

/** How long something may take. */
export const time = (name: string, description: string): Flag.Flag<Duration.Duration | undefined> =>
  Flags.positiveDuration(name).pipe(Flag.withDescription(description), Flags.optional)

/** `--proxy`. */
export const proxy = (variable: string): Flag.Flag<string | undefined> =>
  text("proxy", variable, "An HTTP proxy, http://HOST:PORT; a URL with a password must be in the variable").pipe(
    Flag.withMetavar("URL")
  )

/** Refuses a proxy with a password. The error does not show the value: it may be a secret. */
export const checkProxy = (proxy: string | undefined, variable: string): Effect.Effect<void, UsageError> =>
  proxy?.includes("@") === true
    ? Effect.fail(
      new UsageError({
        detail:
          `--proxy must have no user and password, since other users of this machine can see them: give the URL in ${variable}`
      })
    )
    : Effect.void

/** The values of flags as variables whose names start with `prefix`. */
export const environment = (
  prefix: string,
  values: Readonly<Record<string, string | number | undefined>>
): ConfigProvider.ConfigProvider =>
  ConfigProvider.fromEnv({
    env: Object.fromEntries(
      Object.entries(values).flatMap(([name, value]) =>
        value === undefined ? [] : [[`${prefix}${name}`, String(value)]]
      )
    )
  })
