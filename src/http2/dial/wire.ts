/**
 * Connects a session to a socket and to a clock.
 *
 * At most one write runs at a time, and requests that arrive meanwhile are encoded
 * after it. So requests to a slow peer wait here, where they are known not to be
 * sent, and the peer's next frames still apply to them.
 */
import * as Effect from "effect/Effect"
import type * as Tls from "node:tls"
import type { Session, SessionEnding } from "../session/session.ts"
import { cutDetail, plain } from "./failure.ts"

/** The interval between two checks of the deadlines. */
const tickMillis = 100

/** Moves bytes between a session and its socket, until the session calls `ended`. */
export const attach = (session: Session, socket: Tls.TLSSocket, ended: (ending: SessionEnding) => void): void => {
  let isWriting = false
  let isReading = false
  let hasEnded = false

  const flush = () => {
    session.flush()
    // `take` opens streams, so it waits until the socket can write.
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
    // A caller that retries on a retired connection without a pause must not block the event loop.
    else setImmediate(flush)
  }
  session.onEnd = (ending) => {
    hasEnded = true
    const last = session.take()
    // During a write the peer does not read, so a GOAWAY could wait forever.
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

/** Waits until the bytes that have arrived are read. */
const afterReading = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/**
 * Checks the deadlines until the session ends: every {@link tickMillis} while one is
 * active, else when the next PING is due. After a pause of the process it first
 * reads the bytes that arrived in time.
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
