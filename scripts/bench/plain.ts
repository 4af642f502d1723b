/**
 * The limit: sockets that only move the bytes. No decoding beyond finding the
 * next reply, no envelope, no errors; reads are coalesced and writes batched as
 * well as a program in JavaScript can.
 */
import * as net from "node:net"

/** Replies that may be awaited before reads are spread out. */
const many = 32

export interface Plain {
  /** Writes, and calls back once the expected number of reply lines has arrived. Skips bodies. */
  readonly exchange: (bytes: string, replies: number) => Promise<ReadonlyArray<string>>
  readonly close: () => void
}

/** Connects a plain socket. */
export const connect = (port: number): Promise<Plain> =>
  new Promise((resolve, reject) => {
    let rest = ""
    let lines: Array<string> = []
    let expected = 0
    let done: (lines: ReadonlyArray<string>) => void = () => {}

    const received = (text: string) => {
      const data = rest + text
      let offset = 0
      while (true) {
        const end = data.indexOf("\r\n", offset)
        if (end < 0) break
        const line = data.slice(offset, end)
        let next = end + 2
        if (line.startsWith("RESERVED ")) {
          next += Number(line.slice(line.lastIndexOf(" ") + 1)) + 2
          if (data.length < next) break
        }
        lines.push(line)
        offset = next
      }
      rest = data.slice(offset)
      if (expected > 0 && lines.length >= expected) {
        const finished = lines
        lines = []
        expected = 0
        done(finished)
      }
    }

    const socket = net.connect({
      port,
      host: "127.0.0.1",
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(262144),
        callback: (size, buffer) => {
          received(Buffer.from(buffer.buffer, buffer.byteOffset, size).toString("latin1"))
          if (expected - lines.length < many) return true
          setTimeout(() => socket.resume(), 1)
          return false
        }
      }
    })
    socket.once("error", reject)
    socket.once("connect", () =>
      resolve({
        exchange: (bytes, replies) =>
          new Promise((settle) => {
            expected = replies
            done = settle
            socket.write(bytes, "latin1")
          }),
        close: () => socket.destroy()
      }))
  })
