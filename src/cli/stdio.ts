/**
 * The stdout, stderr and console of the program itself.
 *
 * The console writes the log and never waits for its reader: it drops lines when
 * too many of them wait.
 */
import * as Effect from "effect/Effect"
import { Console as NodeConsole } from "node:console"
import { writeSync } from "node:fs"
import { Socket } from "node:net"
import { Writable } from "node:stream"
import { type Output, OutputError } from "./output.ts"
import * as Reader from "./reader.ts"

/** The error of a stream that failed: its first one, since later ones only say that it is closed. */
const errorOf = (error: unknown, stream?: NodeJS.WriteStream): OutputError => {
  const { code, message } = (stream?.errored ?? error) as NodeJS.ErrnoException
  const isGone = code === "EPIPE" || code === "ECONNRESET" || code === "ERR_STREAM_DESTROYED"
  return new OutputError({ code: isGone ? "EPIPE" : code ?? "EIO", detail: message })
}

/** Writes to a file synchronously. One write may take only a part, and Node.js does not write the rest. */
const toFile = (fd: number, text: string): Effect.Effect<void, OutputError> =>
  Effect.try({
    try: () => {
      const bytes = Buffer.from(text)
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at)
    },
    catch: (error) => errorOf(error)
  })

const toStream = (stream: NodeJS.WriteStream, text: string): Effect.Effect<void, OutputError> =>
  Effect.callback((resume) => {
    stream.write(text, (error) => resume(error ? Effect.fail(errorOf(error, stream)) : Effect.void))
  })

const write = (fd: 1 | 2, text: string): Effect.Effect<void, OutputError> =>
  Effect.suspend(() => {
    const stream: NodeJS.WriteStream = fd === 1 ? process.stdout : process.stderr
    return (stream as object) instanceof Socket ? toStream(stream, text) : toFile(fd, text)
  })

/** Prints to the stdout and stderr of this process. After a request to stop, it no longer waits for stderr. */
export const output = (asked: Effect.Effect<void>): Output => ({
  out: (text) => write(1, text),
  err: (text) => Effect.raceFirst(Effect.ignore(write(2, text)), asked),
  left: Effect.andThen(
    Reader.left(1),
    Effect.fail(new OutputError({ code: "EPIPE", detail: "the reader has closed it" }))
  )
})

/** At most this many bytes of the log wait for its reader. */
const maxWaitingBytes = 16 * 1024 * 1024

/** stderr for the log, whose lines are already escaped (see `loggers.ts`). */
const log = (): Writable => {
  let lost = 0
  return new Writable({
    decodeStrings: false,
    write: (text, _, done) => {
      if (process.stderr.writableLength > maxWaitingBytes) lost++
      else {
        const missing = lost === 0 ? "" : `backq: ${lost} lines of the log were lost: its reader is too slow\n`
        lost = 0
        process.stderr.write(missing + String(text))
      }
      done()
    }
  })
}

/** The console of this process. */
export const console = () => new NodeConsole({ stdout: process.stdout, stderr: log(), ignoreErrors: true })
