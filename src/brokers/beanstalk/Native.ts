/**
 * The driver that speaks to beanstalkd over a TCP or TLS socket.
 *
 * - Many commands leave in one write, and a write waits until the socket has
 *   taken the one before: commands that can't be sent yet are not encoded yet.
 * - While many replies are awaited, reads are spread out a little, because the
 *   server sends each reply in a packet of its own and waking up for each
 *   costs far more than understanding it.
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

/** Encode at most about this much before the socket has taken it. */
const writeSize = 262144
/** A read gives up to this much. */
const readSize = 65536
/** With more replies than this under way, reads wait for each other. */
const manyReplies = 64
const noBytes: Uint8Array = new Uint8Array(0)

const isAddress = (host: string): boolean => /^[\d.]+$|:/.test(host)

/** An address is no name that TLS can ask for (RFC 6066), and Node.js warns of one; a certificate may still be for it. */
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

/** What is done with the bytes of one read, whose buffer is used again. False: no more reads for now. */
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
      buffer: Buffer.allocUnsafeSlow(readSize),
      callback: (size: number, buffer: Uint8Array) => read(buffer.subarray(0, size))
    }
  }
  return options.tls === undefined
    ? Net.connect(address)
    : Tls.connect({ ...address, ...tlsOptions(options.tls, host) })
}

/** Begins to open a socket. Its events are listened to from the first moment, and it closes with the scope. */
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
    // what was written leaves before an open socket closes
    ({ socket }) => Effect.sync(() => socket.connecting ? socket.destroy() : socket.destroySoon())
  )

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
        // it shapes packets, and has nothing to do with the time of the program
        // @effect-diagnostics-next-line globalTimers:off
        setTimeout(() => socket.resume(), 1)
        return false
      }

      const { opened, socket } = yield* dial(options, read)

      const fail = (ending: Ending) => {
        if (!receiver.isInside) return end(ending)
        const line = receiver.answered ? "" : receiver.unfinishedLine
        end(
          line === ""
            ? { ...ending, detail: `${ending.detail} in the middle of a reply` }
            : { detail: describeStranger(line), violation: true }
        )
      }
      const closed = () => fail(closeFailure(options, receiver.answered))
      socket.on("error", (cause) => fail(cutFailure(options, cause)))
      socket.on("end", closed)
      socket.on("close", closed)
      yield* opened

      const slab = new Slab()
      /** What the socket has not taken yet. A large body leaves in pieces, so that each of them counts as progress. */
      let rest = noBytes

      const encoded = (): Uint8Array => {
        while (slab.size < writeSize) {
          const command = pipeline.next()
          if (command === undefined) break
          slab.append(command)
        }
        return slab.size === 0 ? noBytes : slab.take()
      }

      const flush = () => {
        while (!socket.writableNeedDrain && !pipeline.isEnded) {
          if (rest === noBytes) rest = encoded()
          else pipeline.progress++
          if (rest === noBytes) return
          const bytes = rest
          const isLast = bytes.length <= 2 * writeSize
          rest = isLast ? noBytes : bytes.subarray(writeSize)
          pipeline.isCutOff = !isLast
          socket.write(isLast ? bytes : bytes.subarray(0, writeSize))
        }
      }
      socket.on("drain", () => orEnd(end, flush))

      return { flush, destroy: () => socket.destroy() }
    },
    Effect.mapError((ending) => openError(brokerName(options), ending))
  )

/**
 * Connects over TCP, or over TLS when there are `tls` options.
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
    // Node.js throws what it can't use: a PEM that is none, a port out of range
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
