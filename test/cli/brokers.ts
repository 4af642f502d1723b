/** The brokers that an operator's commands are tested on: a real beanstalkd, and a file. */
import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { join } from "node:path"
import type { Broker } from "../../src/Broker.ts"
import * as BrokerUrl from "../../src/brokers/url.ts"
import type { Inspector } from "../../src/Inspector.ts"
import * as Servers from "../support/beanstalkd.ts"
import { folder } from "../support/folder.ts"
import { run } from "./command.ts"

/** A broker, and the command on it. */
export interface Target {
  readonly url: string
  readonly layer: Layer.Layer<Broker | Inspector, unknown>
  /** Runs a command on the broker. */
  readonly backq: (...args: ReadonlyArray<string>) => ReturnType<typeof run>
}

const target = (url: string): Target => ({
  url,
  layer: BrokerUrl.layer(url),
  backq: (...args) => run([...args, "--broker", url])
})

const targets = {
  beanstalkd: Effect.map(Servers.beanstalkd(), ({ port }) => target(`beanstalk://127.0.0.1:${port}`)),
  sqlite: Effect.map(folder, (path) => target(`sqlite:${join(path, "queue.db")}`))
}

/** Registers tests for each of the brokers. */
export const onEach = (
  name: string,
  register: (target: Effect.Effect<Target, never, import("effect/Scope").Scope>, kind: keyof typeof targets) => void
): void => {
  describe.skipIf(Servers.isMissing).concurrent(
    `${name} on beanstalkd`,
    () => register(targets.beanstalkd, "beanstalkd")
  )
  describe.concurrent(`${name} on sqlite`, () => register(targets.sqlite, "sqlite"))
}
