/**
 * The guard of addresses: it decides which addresses a connection to a push service
 * may dial.
 *
 * A host name of a stranger may resolve to this machine, to the private network or to
 * the metadata of a cloud, and may do so only from the second lookup on. So each
 * connection resolves the name itself, the guard judges every address of the answer,
 * and the connection dials only addresses that were judged. One address that is not
 * public refuses the host.
 *
 * Limit: a proxy resolves names itself. Behind one, only the list of hosts protects.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Dns from "node:dns"
import { isIP } from "node:net"
import { Http2Error } from "../../../http2/index.ts"
import { codeOf } from "../../../internal/tls.ts"
import { isPublic } from "./address.ts"

export {
  /**
   * Whether an address is public: not of this machine, a private network, a cloud's metadata, a test or reserved range.
   *
   * @category functions
   * @since 0.1.0
   */
  isPublic
}

/**
 * Decides which addresses connections may dial. Default: public ones only.
 *
 * @category services
 * @since 0.1.0
 */
export const AddressGuard: Context.Reference<(address: string) => boolean> = Context.Reference(
  "backq/webpush/AddressGuard",
  { defaultValue: () => isPublic }
)

/**
 * Resolves a host to all of its addresses.
 *
 * @category services
 * @since 0.1.0
 */
export const Resolver: Context.Reference<
  (host: string) => Effect.Effect<ReadonlyArray<string>, Http2Error.Http2Error>
> = Context.Reference("backq/webpush/Resolver", { defaultValue: () => resolve })

/**
 * Allows further addresses, for a push service of your own in a private network.
 *
 * **Example**
 *
 * ```ts
 * const own = AddressGuard.layer((address) => AddressGuard.isPublic(address) || address === "10.1.2.3")
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (isAllowed: (address: string) => boolean): Layer.Layer<never> =>
  Layer.succeed(AddressGuard, isAllowed)

const notFound = (host: string, detail: string, cause?: unknown) =>
  Http2Error.make(new Http2Error.HostNotFound({ host, detail, ...(cause === undefined ? {} : { cause }) }))

const resolve = (host: string): Effect.Effect<ReadonlyArray<string>, Http2Error.Http2Error> =>
  Effect.callback((resume) => {
    Dns.lookup(host, { all: true }, (error, addresses) =>
      resume(
        error === null
          ? Effect.succeed(addresses.map(({ address }) => address))
          : Effect.fail(notFound(host, `${codeOf(error)}: the name can't be resolved`))
      ))
  })

/** What the failure of a refused host says, so that the provider knows it. */
export const refusedDetail = "it resolves to an address that is not public"

/** The addresses of a host that a connection may dial: all of them, or none. */
export const lookup: Effect.Effect<
  (host: string) => Effect.Effect<ReadonlyArray<string>, Http2Error.Http2Error>
> = Effect.gen(function*() {
  const isAllowed = yield* AddressGuard
  const resolved = yield* Resolver
  const check = (addresses: ReadonlyArray<string>) =>
    addresses.length === 0 ? "it has no address" : addresses.every(isAllowed) ? undefined : refusedDetail
  return Effect.fnUntraced(function*(host: string) {
    const addresses = isIP(host) === 0 ? yield* resolved(host) : [host]
    const refused = check(addresses)
    return refused === undefined ? addresses : yield* notFound(host, refused)
  })
})
