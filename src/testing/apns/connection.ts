/** A connection to the simulator of APNs, and what APNs knows of its provider. */
// @effect-diagnostics nodeBuiltinImport:off
import type { ServerHttp2Session } from "node:http2"
import type { TLSSocket } from "node:tls"
import { Connection as Base } from "../push/index.ts"
import type { Provider } from "./checks.ts"
import { topicsOf } from "./clientCertificate.ts"
import type { Shown } from "./providerTokens.ts"
import type { Goaway } from "./Script.ts"

/** A GOAWAY as APNs writes it. `now` is in milliseconds since the epoch. */
export const goawayOf = ({ code, reason, unprocessed }: Goaway, now: number): Base.Goaway => ({
  code,
  unprocessed,
  debug: reason === undefined ? undefined : JSON.stringify({ reason, timestamp: now })
})

/** One connection. */
export class Connection extends Base.Connection implements Provider {
  readonly certificate: Provider["certificate"]
  shown: Shown | undefined
  /** Whether a push with a provider token was accepted. */
  proven = false
  /** How many pushes arrived. */
  pushes = 0
  /** How many pushes were refused since the last accepted one, without dead tokens. */
  refusals = 0
  /** How many of these had bad device tokens. */
  badTokens = 0

  constructor(number: number, session: ServerHttp2Session, socket: TLSSocket) {
    super(number, session, socket)
    const x509 = socket.getPeerX509Certificate()
    this.certificate = x509 === undefined
      ? undefined
      : { topics: topicsOf(x509), validUntil: x509.validToDate.getTime() }
  }
}
