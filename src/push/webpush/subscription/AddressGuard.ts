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

export { isPublic }

/**
 * Resolves a host to all of its addresses.
 *
 * @category models
 * @since 0.1.0
 */
export type Resolve = (host: string) => Effect.Effect<ReadonlyArray<string>, Http2Error.Http2Error>

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
 * Resolves hosts. Default: the system's resolver.
 *
 * @category services
 * @since 0.1.0
 */
export const Resolver: Context.Reference<Resolve> = Context.Reference("backq/webpush/Resolver", {
  defaultValue: () => resolve
})

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

const notFound = (host: string, detail: string) => Http2Error.make(new Http2Error.HostNotFound({ host, detail }))

const resolve: Resolve = (host) =>
  Effect.callback((resume) => {
    Dns.lookup(host, { all: true }, (error, addresses) =>
      resume(
        error === null
          ? Effect.succeed(addresses.map(({ address }) => address))
          : Effect.fail(notFound(host, `${codeOf(error)}: the name can't be resolved`))
      ))
  })

/**
 * The guard of one program.
 *
 * @category models
 * @since 0.1.0
 */
export interface Guard {
  readonly resolve: Resolve
  /** Why an address must not be dialled, or `undefined`. */
  readonly refuse: (address: string) => string | undefined
  /** The addresses of a host that a connection may dial: all of them, or none. */
  readonly lookup: Resolve
}

/**
 * The guard, with the services that tests replace.
 *
 * @category constructors
 * @since 0.1.0
 */
export const guard: Effect.Effect<Guard> = Effect.gen(function*() {
  const isAllowed = yield* AddressGuard
  const resolve = yield* Resolver
  const refuse = (address: string) => isAllowed(address) ? undefined : "is not public"
  return {
    resolve,
    refuse,
    lookup: Effect.fnUntraced(function*(host: string) {
      const addresses = isIP(host) === 0 ? yield* resolve(host) : [host]
      if (addresses.length === 0) return yield* notFound(host, "it has no address")
      for (const address of addresses) {
        const detail = refuse(address)
        if (detail !== undefined) {
          return yield* Http2Error.make(new Http2Error.AddressRefused({ host, address, detail }))
        }
      }
      return addresses
    })
  }
})
