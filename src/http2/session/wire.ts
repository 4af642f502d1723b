/**
 * Joins a session to the world: its bytes to a socket, its deadlines to a clock.
 *
 * There is at most one write under way; requests that are made meanwhile are
 * encoded after it. So a peer that reads slowly holds them back here,
 * where they are known not to be sent, and obey what it says next.
 */
import * as Effect from "effect/Effect"
import type * as Tls from "node:tls"
import { cutDetail, plain } from "../dial/failure.ts"
import type { Session, SessionEnding } from "./session.ts"

/** Deadlines are looked at so often while something is under way, in milliseconds. */
const tickMillis = 100

/** Moves the bytes between a session and its socket, until the session has `ended`. */
export const attach = (session: Session, socket: Tls.TLSSocket, ended: (ending: SessionEnding) => void): void => {
  let isWriting = false
  let isReading = false
  let hasEnded = false

  const flush = () => {
    session.flush()
    // `take` opens streams: not before their bytes can go.
    if (isWriting || hasEnded) return
    const bytes = session.take()
    if (bytes === undefined) return
    isWriting = true
    socket.write(bytes, written)
  }
  const written = () => {
    isWriting = false
    flush()
  }
  session.onWake = () => {
    if (isReading) return
    if (session.isOpen) queueMicrotask(flush)
    // Who tries again and again on a connection that is retired must not keep the process from everything else.
    else setImmediate(flush)
  }
  session.onEnd = (ending) => {
    hasEnded = true
    const last = session.take()
    // With a write under way the peer takes nothing any more: a farewell would wait for it for ever.
    if (isWriting || last === undefined || !socket.writable) socket.destroy()
    else socket.end(last, () => socket.destroy())
    ended(ending)
  }
  socket.on("data", (chunk) => {
    isReading = true
    session.feed(chunk)
    isReading = false
    flush()
  })
  const failed = (cause: Error) => session.close(cutDetail(cause), plain(cause))
  const closed = () => session.close("it closed the connection")
  socket.on("end", closed).on("error", failed).on("close", closed)
  if (socket.errored !== null) failed(socket.errored)
  else if (socket.destroyed || socket.readableEnded) closed()
  else flush()
}

/** Goes on when what has arrived meanwhile is read. */
const afterReading = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/**
 * Looks at the deadlines until the session ends: often while something is under
 * way, else when the peer has been silent for too long. When the process stood
 * still, what has come in time counts.
 */
export const watch = (session: Session): Effect.Effect<void> => {
  const busy = Effect.callback<void>((resume) => {
    if (session.isBusy) return resume(Effect.void)
    session.onBusy = () => resume(Effect.void)
  })
  return Effect.whileLoop({
    while: () => !session.hasEnded,
    body: () => {
      session.tick()
      return session.isBusy
        ? Effect.andThen(Effect.sleep(tickMillis), afterReading)
        : Effect.timeoutOrElse(busy, { duration: session.untilPing, orElse: () => Effect.void })
    },
    step: () => {}
  })
}
