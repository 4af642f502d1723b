/** A server of its own for a benchmark, on a free port. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import * as net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { find } from "../test/servers.ts"

export interface Server {
  readonly port: number
  readonly pid: number
  readonly stop: () => void
}

/** A free port. */
export const freePort = async (): Promise<number> => {
  const server = net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, "close")
  return port
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1")
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })

/** Starts a server and waits until it answers; by default a beanstalkd in memory. */
export const start = async (
  program = "beanstalkd",
  args = (port: number): ReadonlyArray<string> => ["-l", "127.0.0.1", "-p", String(port)]
): Promise<Server> => {
  const port = await freePort()
  const child = spawn(find(program) ?? program, args(port), { stdio: "inherit" })
  for (let i = 0; i < 500; i++) {
    if (await answers(port)) return { port, pid: child.pid!, stop: () => child.kill() }
    await sleep(10)
  }
  child.kill()
  throw new Error(`${program} does not answer: is it installed?`)
}

const microsecondsPerTick = 10_000

/** The CPU time of a process so far, in microseconds. */
export const cpuOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ")
  return (Number(fields[11]) + Number(fields[12])) * microsecondsPerTick
}
