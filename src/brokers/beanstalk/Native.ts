/**
 * The driver that speaks to beanstalkd over a TCP or TLS socket.
 *
 * - Many commands leave in one write, and a write waits until the socket has
 *   taken the one before: commands that can't be sent yet are not encoded yet.
 * - While many replies are awaited, reads are spread out a little, because the
 *   server sends each reply in a packet of its own and waking up for each
 *   costs far more than understanding it.
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Socket from "effect/socket/Socket"
import { CloseEvent } from "effect/socket/Socket"
import { checkServerIdentity, type PeerCertificate } from "node:tls"
import * as BrokerError from "../../BrokerError.ts"
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
import { pemProblem, socketFailure } from "./failure.ts"
import type { Pipeline } from "./pipeline.ts"
import { Receiver } from "./receiver.ts"
import { describeStranger } from "./reply.ts"

/** Encode at most about this much before the socket has taken it. */
const writeSize = 262144
/** With more replies than this under way, reads wait for each other. */
const manyReplies = 64

// A plain timer: it shapes packets, and has nothing to do with the time of the program.
const shortly = Effect.callback<void>((resume) => {
  // @effect-diagnostics-next-line globalTimersInEffect:off
  const timer = setTimeout(() => resume(Effect.void), 1)
  return Effect.sync(() => clearTimeout(timer))
})

const isAddress = (host: string): boolean => /^[\d.]+$|:/.test(host)

/** An address is no name that TLS can ask for (RFC 6066), and Node.js warns of one; a certificate may still be for it. */
const nameOptions = (tls: TlsOptions, host: string) => {
  const { servername } = tls
  return servername !== undefined && isAddress(servername)
    ? {
      servername: "",
      checkServerIdentity: (_: string, certificate: PeerCertificate) => checkServerIdentity(servername, certificate)
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

const dial = (options: ConnectOptions): Effect.Effect<Socket.Socket> => {
  const host = options.host ?? "127.0.0.1"
  const address = {
    host,
    port: options.port ?? 11300,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    // One packet is read at a time, so that the kernel collects replies while reads wait.
    readableHighWaterMark: 1,
    openTimeout: options.connectTimeout ?? "5 seconds"
  }
  return options.tls === undefined
    ? NodeSocket.makeNet(address)
    : NodeSocket.makeTls({ ...address, ...tlsOptions(options.tls, host) })
}

const open = (options: ConnectOptions) =>
  Effect.fnUntraced(
    function*(pipeline: Pipeline, end: (ending: Ending) => void) {
      const socket = yield* dial(options)
      const { pull } = yield* socket.reader
      const writer = yield* socket.writer
      const receiver = new Receiver(pipeline)
      const slab = new Slab()
      let waited = false
      const failure = (error: Socket.SocketError): Ending => {
        if (receiver.isInside && !receiver.answered && receiver.unfinishedLine !== "") {
          return { detail: describeStranger(receiver.unfinishedLine), violation: true }
        }
        const ending = socketFailure(options, error, receiver.answered)
        return receiver.isInside ? { ...ending, detail: `${ending.detail} in the middle of a reply` } : ending
      }

      const received = (chunks: ReadonlyArray<Uint8Array | string>): Effect.Effect<void, Ending> => {
        for (const chunk of chunks) {
          const ending = receiver.take(typeof chunk === "string" ? Buffer.from(chunk) : chunk)
          if (ending !== undefined) return Effect.fail(ending)
        }
        // The first read after a wait gives what Node.js had read ahead before it: the rest is there already.
        waited = !waited && pipeline.outstanding > manyReplies
        return waited ? shortly : Effect.void
      }

      yield* pull.pipe(
        Effect.mapError(failure),
        Effect.flatMap(received),
        Effect.forever({ disableYield: true }),
        orEnd(end),
        Effect.forkScoped
      )

      // A large body leaves in pieces, so that each of them counts as progress.
      const write = (bytes: Uint8Array): Effect.Effect<void, Socket.SocketError> => {
        pipeline.isCutOff = bytes.length > 2 * writeSize
        return pipeline.isCutOff
          ? Effect.flatMap(writer.write(bytes.subarray(0, writeSize)), () => {
            pipeline.progress++
            return write(bytes.subarray(writeSize))
          })
          : writer.write(bytes)
      }

      const flush: Effect.Effect<void, Ending> = Effect.suspend(() => {
        while (slab.size < writeSize) {
          const command = pipeline.next()
          if (command === undefined) break
          slab.append(command)
        }
        return slab.size === 0
          ? Effect.void
          : write(slab.take()).pipe(Effect.mapError(failure), Effect.andThen(flush))
      })
      const transport: Transport = { flush, destroy: Effect.ignore(writer.write(new CloseEvent())) }
      return transport
    },
    Effect.mapError((error: Socket.SocketError) => openError(brokerName(options), socketFailure(options, error, false)))
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
