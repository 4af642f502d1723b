/**
 * The driver on a TCP or TLS socket.
 *
 * - Many commands leave in one write. A write waits until the socket has accepted
 *   the previous one, and commands are encoded only then.
 * - While many replies are awaited, the reads pause for a millisecond. The server
 *   sends each reply in its own packet, and a read costs far more than parsing a
 *   reply.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Tls from "node:tls"
import * as BrokerError from "../../BrokerError.ts"
import * as DurationInput from "../../internal/durationInput.ts"
import { messageOfThrown } from "../../internal/thrown.ts"
import { Slab } from "./command.ts"
import {
  brokerName,
  type ConnectOptions,
  type Driver,
  type Ending,
  make,
  openError,
  orEnd,
  type TlsOptions,
  type Transport
} from "./Connection.ts"
import { closeFailure, cutFailure, openFailure, openTimeout, pemProblem } from "./failure.ts"
import type { Pipeline } from "./pipeline.ts"
import { Receiver } from "./receiver.ts"
import { describeStranger } from "./reply.ts"

/** One write takes about this much at most. */
const writeBytes = 262144
/** One read returns at most this much. */
const readBytes = 65536
/**
 * While more replies than this are awaited, reads pause for a millisecond, so that one read takes many replies. That
 * saves a large batch a fifth of its CPU. A worker with 64 handlers awaits 128 replies: at 64, the pauses took half of
 * its time.
 */
const manyReplies = 256
const noBytes: Uint8Array = new Uint8Array(0)

const isAddress = (host: string): boolean => /^[\d.]+$|:/.test(host)

/** TLS can't send an address as the server name (RFC 6066, section 3), but a certificate may have an address. */
const nameOptions = (tls: TlsOptions, host: string) => {
  const { servername } = tls
  return servername !== undefined && isAddress(servername)
    ? {
      servername: "",
      checkServerIdentity: (_: string, certificate: Tls.PeerCertificate) =>
        Tls.checkServerIdentity(servername, certificate)
    }
    : { servername: servername ?? (isAddress(host) ? "" : host) }
}

const tlsOptions = (tls: TlsOptions, host: string) => ({
  ...nameOptions(tls, host),
  minVersion: tls.minVersion ?? "TLSv1.2" as const,
  ...(tls.ca === undefined ? {} : { ca: Array.isArray(tls.ca) ? tls.ca.map(asPem) : asPem(tls.ca as string) }),
  ...(tls.cert === undefined ? {} : { cert: asPem(tls.cert) }),
  ...(tls.key === undefined ? {} : { key: Redacted.value(tls.key) })
})

const asPem = (pem: string | Uint8Array): string | Buffer => typeof pem === "string" ? pem : Buffer.from(pem)

/** Handles the bytes of one read. Their buffer is reused. Returns `false` to pause the reads. */
type Read = (bytes: Uint8Array) => boolean

const connect = (options: ConnectOptions, read: Read): Net.Socket => {
  const host = options.host ?? "127.0.0.1"
  const address = {
    host,
    port: options.port ?? 11300,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    onread: {
      buffer: Buffer.allocUnsafeSlow(readBytes),
      callback: (size: number, buffer: Uint8Array) => read(buffer.subarray(0, size))
    }
  }
  return options.tls === undefined
    ? Net.connect(address)
    : Tls.connect({ ...address, ...tlsOptions(options.tls, host) })
}

/** Starts to open a socket, which closes with the scope. It has its listeners from the first moment. */
const dial = (options: ConnectOptions, read: Read) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = connect(options, read)
      const outcome = Deferred.makeUnsafe<void, Ending>()
      socket.once(options.tls === undefined ? "connect" : "secureConnect", () =>
        Deferred.doneUnsafe(outcome, Effect.void))
      socket.once("error", (cause) =>
        Deferred.doneUnsafe(outcome, Effect.fail(openFailure(options, cause))))
      const opened = Effect.timeoutOrElse(Deferred.await(outcome), {
        duration: DurationInput.fromInputUnsafe(options.connectTimeout ?? "5 seconds"),
        orElse: () => Effect.fail(openTimeout(options))
      })
      return { socket, opened }
    }),
    // An open socket sends the written bytes before it closes.
    ({ socket }) => Effect.sync(() => socket.connecting ? socket.destroy() : socket.destroySoon())
  )

/** Writes the commands of a pipeline to an open socket. */
class Writer {
  private readonly socket: Net.Socket
  private readonly pipeline: Pipeline
  private readonly slab = new Slab()
  /** The bytes that the socket has not accepted. A large body leaves in pieces, and each counts as progress. */
  private rest = noBytes

  constructor(socket: Net.Socket, pipeline: Pipeline) {
    this.socket = socket
    this.pipeline = pipeline
  }

  /** Writes as much as the socket accepts. */
  readonly flush = (): void => {
    while (!this.socket.writableNeedDrain && !this.pipeline.isEnded) {
      if (this.rest === noBytes) this.rest = this.encoded()
      else this.pipeline.progress++
      if (this.rest === noBytes) return
      this.writePiece(this.rest)
    }
  }

  private writePiece(bytes: Uint8Array): void {
    const isLast = bytes.length <= 2 * writeBytes
    this.rest = isLast ? noBytes : bytes.subarray(writeBytes)
    this.pipeline.isCutOff = !isLast
    this.socket.write(isLast ? bytes : bytes.subarray(0, writeBytes))
  }

  private encoded(): Uint8Array {
    while (this.slab.size < writeBytes) {
      const command = this.pipeline.next()
      if (command === undefined) break
      this.slab.append(command)
    }
    return this.slab.size === 0 ? noBytes : this.slab.take()
  }
}

/** Adds to an ending that it came in the middle of a reply, or names the server that an unfinished line is from. */
const inReply = (ending: Ending, receiver: Receiver): Ending => {
  if (!receiver.isInside) return ending
  const line = receiver.answered ? "" : receiver.unfinishedLine
  return line === ""
    ? { ...ending, detail: `${ending.detail} in the middle of a reply` }
    : { detail: describeStranger(line), violation: true }
}

const open = (options: ConnectOptions) =>
  Effect.fnUntraced(
    function*(
      pipeline: Pipeline,
      end: (ending: Ending) => void
    ): Effect.fn.Return<Transport, Ending, Scope.Scope> {
      const receiver = new Receiver(pipeline)

      const read: Read = (bytes) => {
        const ending = orEnd(end, () => receiver.take(bytes))
        if (ending !== undefined) end(ending)
        if (pipeline.outstanding <= manyReplies) return true
        // The timer shapes packets. It has nothing to do with the program's clock.
        // @effect-diagnostics-next-line globalTimers:off
        setTimeout(() => socket.resume(), 1)
        return false
      }

      const { opened, socket } = yield* dial(options, read)
      const closed = () => end(inReply(closeFailure(options, receiver.answered), receiver))
      socket.on("error", (cause) => end(inReply(cutFailure(options, cause), receiver)))
      socket.on("end", closed)
      socket.on("close", closed)
      yield* opened

      const { flush } = new Writer(socket, pipeline)
      socket.on("drain", () => orEnd(end, flush))
      return { flush, destroy: () => socket.destroy() }
    },
    Effect.mapError((ending) => openError(brokerName(options), ending))
  )

/**
 * The driver on TCP, or on TLS if the options have `tls`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const driver = (options: ConnectOptions = {}): Driver => ({
  name: brokerName(options),
  canReserveJob: true,
  connect: Effect.suspend(() => {
    const problem = pemProblem(brokerName(options), options)
    return problem === undefined ? make(brokerName(options), options.replyTimeout, open(options)) : problem
  }).pipe(
    // Node.js throws if it can't use an option, such as a port out of range.
    Effect.catchDefect((cause) =>
      Effect.fail(
        BrokerError.optionInvalid(
          `the options for ${brokerName(options)}`,
          `must be usable by Node.js, which says: ${messageOfThrown(cause)}`
        )
      )
    )
  )
})
