/** The rules of the options of connections, for every push service. Pure. */
import type * as Duration from "effect/Duration"
import * as Options from "../../internal/options.ts"
import type { Rule } from "./Servers.ts"

/** The options that services have in common. Each has its own defaults. */
export interface Common {
  readonly maxConnections?: number | undefined
  readonly connectTimeout?: Duration.Input | undefined
  readonly requestTimeout?: Duration.Input | undefined
  readonly queueTimeout?: Duration.Input | undefined
  readonly idleTimeout?: Duration.Input | undefined
  readonly idlePing?: Duration.Input | undefined
  readonly pingTimeout?: Duration.Input | undefined
  readonly drainTimeout?: Duration.Input | undefined
}

/** An integer from 1. */
export const integer = (option: string, value: number, max: number): Rule => [option, Options.integer(value, 1, max)]

const duration = (option: string, value: Duration.Input | undefined, minMillis = 1): Rule => [
  option,
  value === undefined ? undefined : Options.duration(value, { minMillis })
]

/** The rules of these options. */
export const rules = (options: Common): ReadonlyArray<Rule> => [
  integer("maxConnections", options.maxConnections ?? 1, 1000),
  duration("connectTimeout", options.connectTimeout),
  duration("requestTimeout", options.requestTimeout),
  duration("queueTimeout", options.queueTimeout),
  duration("idleTimeout", options.idleTimeout),
  duration("idlePing", options.idlePing),
  duration("pingTimeout", options.pingTimeout),
  duration("drainTimeout", options.drainTimeout, 0)
]

/** An option that breaks its rule. */
export interface Broken {
  readonly option: string
  readonly rule: string
}

/** The first option that breaks its rule. */
export const firstBroken = (rules: ReadonlyArray<Rule>): Broken | undefined => {
  for (const [option, rule] of rules) if (rule !== undefined) return { option, rule }
  return undefined
}
