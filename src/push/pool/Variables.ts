/**
 * The variables of a push service that hold its options, for configurations: their rules,
 * and their names in errors. No error quotes a value.
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { trimmed } from "../../internal/trimmedConfig.ts"
import * as ConnectionRules from "./ConnectionRules.ts"
import * as Servers from "./Servers.ts"

/** A variable that may be absent. */
export const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

/** Reads variables. A line end after a value is ignored, because `echo` writes one. */
export const read = <A>(variables: Config.Config<A>): Effect.Effect<A, Config.ConfigError> =>
  Effect.flatMap(
    ConfigProvider.ConfigProvider,
    (provider) => Effect.provideService(variables, ConfigProvider.ConfigProvider, trimmed(provider))
  )

/** A variable, its value, and the check of the value. */
export type Checked = readonly [variable: string, value: string | undefined, check: Servers.Check]

/** Checks variables. Succeeds with the first that breaks its rule. */
export const firstBroken = (checks: ReadonlyArray<Checked>): ConnectionRules.Broken | undefined =>
  ConnectionRules.firstBroken(
    checks.map(([variable, value, check]) => [variable, value === undefined ? undefined : check(value)])
  )

/** Reads the variable of a proxy. The failure is the broken rule. */
export const proxyOf = (
  value: Redacted.Redacted | undefined
): Effect.Effect<Servers.Proxy | undefined, string> =>
  value === undefined ? Effect.undefined : Effect.fromResult(Servers.parseProxy(Redacted.value(value)))

/**
 * Replaces an option that is checked where it is used by its variable; `undefined` if no
 * variable holds it. `variables` are the variables of options, without the prefix.
 */
export const named = (
  { option, rule }: ConnectionRules.Broken,
  prefix: string,
  variables: Readonly<Record<string, string>>
): ConnectionRules.Broken | undefined => {
  // One variable holds all options of a proxy.
  if (option.startsWith("proxy.")) {
    return { option: `${prefix}PROXY`, rule: `can't be used: its ${option.slice(6)} ${rule}` }
  }
  const variable = variables[option]
  return variable === undefined ? undefined : { option: `${prefix}${variable}`, rule }
}
