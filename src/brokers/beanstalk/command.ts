/**
 * The commands of beanstalkd's protocol, and their encoding.
 *
 * A command is plain data in the units of the server: whole seconds, priorities
 * from 0 to 2^32 - 1, ids as decimal strings (they are unsigned 64-bit numbers).
 * Arguments are checked where they enter (`Broker.ts`, `Client.ts`), not here.
 *
 * Source: beanstalkd's doc/protocol.txt, version 1.12.
 */

/** One command. The comments name the replies that mean success. */
export type Command =
  /** INSERTED, BURIED */
  | {
    readonly _tag: "Put"
    readonly priority: number
    readonly delay: number
    readonly ttr: number
    readonly body: Uint8Array
  }
  /** USING */
  | { readonly _tag: "Use"; readonly tube: string }
  /** RESERVED, DEADLINE_SOON; waits forever */
  | { readonly _tag: "Reserve" }
  /** RESERVED, DEADLINE_SOON, TIMED_OUT; 0 seconds does not wait */
  | { readonly _tag: "ReserveWithTimeout"; readonly seconds: number }
  /** RESERVED */
  | { readonly _tag: "ReserveJob"; readonly id: string }
  /** DELETED */
  | { readonly _tag: "Delete"; readonly id: string }
  /** RELEASED */
  | { readonly _tag: "Release"; readonly id: string; readonly priority: number; readonly delay: number }
  /** BURIED */
  | { readonly _tag: "Bury"; readonly id: string; readonly priority: number }
  /** TOUCHED */
  | { readonly _tag: "Touch"; readonly id: string }
  /** WATCHING */
  | { readonly _tag: "Watch"; readonly tube: string }
  /** WATCHING, NOT_IGNORED */
  | { readonly _tag: "Ignore"; readonly tube: string }
  /** FOUND */
  | { readonly _tag: "Peek"; readonly id: string }
  /** FOUND; in the used tube */
  | { readonly _tag: "PeekReady" }
  /** FOUND; in the used tube */
  | { readonly _tag: "PeekDelayed" }
  /** FOUND; in the used tube */
  | { readonly _tag: "PeekBuried" }
  /** KICKED with a count; in the used tube */
  | { readonly _tag: "Kick"; readonly bound: number }
  /** KICKED */
  | { readonly _tag: "KickJob"; readonly id: string }
  /** OK */
  | { readonly _tag: "Stats" }
  /** OK */
  | { readonly _tag: "StatsJob"; readonly id: string }
  /** OK */
  | { readonly _tag: "StatsTube"; readonly tube: string }
  /** OK */
  | { readonly _tag: "ListTubes" }
  /** USING */
  | { readonly _tag: "ListTubeUsed" }
  /** OK */
  | { readonly _tag: "ListTubesWatched" }
  /** PAUSED; 0 seconds ends the pause */
  | { readonly _tag: "PauseTube"; readonly tube: string; readonly seconds: number }
  /** No reply: the server closes the connection. */
  | { readonly _tag: "Quit" }

/** The line of a command, without its end. */
export const line = (command: Command): string => {
  switch (command._tag) {
    case "Put":
      return `put ${command.priority} ${command.delay} ${command.ttr} ${command.body.length}`
    case "Use":
      return `use ${command.tube}`
    case "Reserve":
      return "reserve"
    case "ReserveWithTimeout":
      return `reserve-with-timeout ${command.seconds}`
    case "ReserveJob":
      return `reserve-job ${command.id}`
    case "Delete":
      return `delete ${command.id}`
    case "Release":
      return `release ${command.id} ${command.priority} ${command.delay}`
    case "Bury":
      return `bury ${command.id} ${command.priority}`
    case "Touch":
      return `touch ${command.id}`
    case "Watch":
      return `watch ${command.tube}`
    case "Ignore":
      return `ignore ${command.tube}`
    case "Peek":
      return `peek ${command.id}`
    case "PeekReady":
      return "peek-ready"
    case "PeekDelayed":
      return "peek-delayed"
    case "PeekBuried":
      return "peek-buried"
    case "Kick":
      return `kick ${command.bound}`
    case "KickJob":
      return `kick-job ${command.id}`
    case "Stats":
      return "stats"
    case "StatsJob":
      return `stats-job ${command.id}`
    case "StatsTube":
      return `stats-tube ${command.tube}`
    case "ListTubes":
      return "list-tubes"
    case "ListTubeUsed":
      return "list-tube-used"
    case "ListTubesWatched":
      return "list-tubes-watched"
    case "PauseTube":
      return `pause-tube ${command.tube} ${command.seconds}`
    case "Quit":
      return "quit"
  }
}

const CR = 13
const LF = 10
const slabSize = 65536
/** Room for the longest line (224 bytes with its CRLF), and for the CRLF after a body. */
const lineRoom = 256

/**
 * Collects the bytes of many commands, so that they leave in one write.
 *
 * `take` returns the bytes since the last `take`. The slab never changes them
 * afterwards.
 */
export class Slab {
  private bytes = Buffer.allocUnsafeSlow(slabSize)
  private start = 0
  private end = 0

  /** The number of bytes to take. */
  get size(): number {
    return this.end - this.start
  }

  append(command: Command): void {
    const body = command._tag === "Put" ? command.body : undefined
    this.reserve(body === undefined ? lineRoom : lineRoom + body.length)
    const bytes = this.bytes
    let end = this.end
    end += bytes.write(line(command), end, "latin1")
    bytes[end++] = CR
    bytes[end++] = LF
    if (body !== undefined) {
      bytes.set(body, end)
      end += body.length
      bytes[end++] = CR
      bytes[end++] = LF
    }
    this.end = end
  }

  take(): Uint8Array {
    const taken = this.bytes.subarray(this.start, this.end)
    this.start = this.end
    return taken
  }

  private reserve(room: number): void {
    if (this.bytes.length - this.end >= room) return
    const pending = this.bytes.subarray(this.start, this.end)
    this.bytes = Buffer.allocUnsafeSlow(Math.max(slabSize, 2 * pending.length, pending.length + room))
    this.bytes.set(pending)
    this.start = 0
    this.end = pending.length
  }
}
