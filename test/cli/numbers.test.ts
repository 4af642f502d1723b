/** The numbers of many queues cost about what the server needs for them. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import * as BeanstalkBroker from "../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as Native from "../../src/brokers/beanstalk/Native.ts"
import { sample, sampleFor } from "../../src/cli/render/numbers.ts"
import { Inspector } from "../../src/Inspector.ts"
import * as Servers from "../support/beanstalkd.ts"
import { allow, withPrograms } from "../support/limits.ts"
import * as Network from "../support/network.ts"

allow(withPrograms)

/** Sends lines at once, and returns when that number of lines was answered. */
const exchange = (port: number, lines: string, answered: number) =>
  Effect.callback<void>((resume) => {
    let left = answered
    const socket = Net.connect(port, "127.0.0.1", () => socket.write(lines))
    socket.on("data", (data) => {
      for (const byte of data) if (byte === 10) left--
      if (left <= 0) {
        socket.destroy()
        resume(Effect.void)
      }
    })
  })

const names = (count: number) => Array.from({ length: count }, (_, i) => `tube-${i}`)

const millis = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([duration]) => Duration.toMillis(duration))

describe("the numbers of thousands of queues", () => {
  Servers.real("come at about the server's own speed", () =>
    Effect.gen(function*() {
      const { port } = yield* Servers.beanstalkd()
      const tubes = names(4000)
      yield* exchange(port, tubes.map((tube) => `use ${tube}\r\nput 0 0 60 1\r\na\r\n`).join(""), 2 * tubes.length)
      const bare = exchange(
        port,
        tubes.map((tube, i) => `stats-tube ${tube}\r\nuse ${tube}\r\npeek-ready\r\nstats-job ${i + 1}\r\n`).join(""),
        (16 + 1 + 2 + 16) * tubes.length
      )
      const { inspector } = yield* BeanstalkBroker.make(Native.driver({ port }))
      const ours = Effect.provideService(sample(), Inspector, inspector)
      const { queues } = yield* ours
      assert.lengthOf(queues.filter(({ nextAge }) => nextAge !== undefined), tubes.length)
      // Other programs on the machine can only make it slower, so the best of some rounds counts.
      let limit = Infinity
      let taken = Infinity
      for (let round = 0; round < 2 || (round < 8 && taken / limit >= 5); round++) {
        limit = Math.min(limit, yield* millis(bare))
        taken = Math.min(taken, yield* millis(ours))
      }
      assert.isBelow(taken / limit, 5)
    }))

  it.live("are requested in batches, and no more than the command shows", () =>
    Effect.gen(function*() {
      const tubes = names(1000)
      const told: Array<string> = []
      let packets = 0
      const stats = (name: string) => Servers.tubeReply(name, { "current-jobs-ready": 1 })
      const port = yield* Network.scripted((socket) => {
        let rest = ""
        socket.setNoDelay(true).on("data", (data) => {
          packets++
          const lines = (rest + data.toString()).split("\r\n")
          rest = lines.pop()!
          told.push(...lines)
          socket.write(
            lines.map((line) => {
              const [command, name = ""] = line.split(" ")
              switch (command) {
                case "stats":
                  return Servers.statsReply()
                case "list-tubes":
                  return Servers.ok(`---\n${tubes.map((tube) => `- ${tube}\n`).join("")}`)
                case "stats-tube":
                  return stats(name)
                case "use":
                  return `USING ${name}\r\n`
                case "peek-ready":
                  return "FOUND 7 1\r\na\r\n"
                default:
                  return Servers.jobReply("7", { state: "ready" })
              }
            }).join("")
          )
        })
      })
      const { inspector } = yield* BeanstalkBroker.make(Native.driver({ port }))
      const { queues } = yield* Effect.provideService(sampleFor(Duration.millis(1)), Inspector, inspector)
      assert.lengthOf(queues, tubes.length)
      assert.isTrue(queues.every(({ nextAge, rates }) => nextAge !== undefined && rates !== undefined))
      const count = (command: string) => told.filter((line) => line.startsWith(command)).length
      // once for the rates, and once for all the rest
      assert.deepStrictEqual([count("stats-tube"), count("peek-ready"), count("stats-job")], [2000, 1000, 1000])
      assert.isBelow(packets, 300)
    }))
})
