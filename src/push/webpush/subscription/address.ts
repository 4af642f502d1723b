/**
 * Tells public addresses from all others. Pure.
 *
 * An address counts as public only if it is in no special range of the IANA
 * registries for IPv4 and IPv6, such as the machine itself, private networks and
 * the metadata of a cloud. An IPv6 address that carries an IPv4 address, such as a
 * mapped one or one of NAT64, is public only if both are.
 */
// @effect-diagnostics nodeBuiltinImport:off
import { BlockList, isIP, isIPv4 } from "node:net"

type Range = readonly [net: string, bits: number]

/** https://www.iana.org/assignments/iana-ipv4-special-registry */
const special4: ReadonlyArray<Range> = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.31.196.0", 24],
  ["192.52.193.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["192.175.48.0", 24],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4]
]

/** Global unicast. Everything outside of it is special: loopback, mapped, NAT64, unique local, link local, multicast. */
const global6: Range = ["2000::", 3]

/** The special parts of global unicast: https://www.iana.org/assignments/iana-ipv6-special-registry */
const special6: ReadonlyArray<Range> = [
  // Protocol assignments, with Teredo, benchmarking, ORCHID and drone identification.
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["2620:4f:8000::", 48],
  ["3fff::", 20]
]

const listOf = (family: "ipv4" | "ipv6", ranges: ReadonlyArray<Range>): BlockList => {
  const list = new BlockList()
  for (const [net, bits] of ranges) list.addSubnet(net, bits, family)
  return list
}

const blocked4 = listOf("ipv4", special4)
const blocked6 = listOf("ipv6", special6)
const allowed6 = listOf("ipv6", [global6])

const read = (part: string): ReadonlyArray<number> =>
  part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16))

/** The groups of 16 bits of an IPv6 address. */
const groupsOf = (address: string): ReadonlyArray<number> => {
  // The URL parser writes the groups in one way: hexadecimal, without the form `::1.2.3.4`.
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [head = "", tail] = text.split("::")
  const first = read(head)
  if (tail === undefined) return first
  const last = read(tail)
  return [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last]
}

const dotted = (high: number, low: number): string => [high >> 8, high & 255, low >> 8, low & 255].join(".")

/** The well-known prefix of NAT64: RFC 6052, section 2.1. */
const nat64 = [0x64, 0xff9b, 0, 0, 0, 0]
const mapped = [0, 0, 0, 0, 0, 0xffff]

const startsWith = (groups: ReadonlyArray<number>, start: ReadonlyArray<number>): boolean =>
  start.every((group, index) => groups[index] === group)

/** The IPv4 address that an IPv6 address stands for, if it is mapped, or of the public NAT64 prefix. */
const carried = (address: string): string | undefined => {
  const groups = groupsOf(address)
  return startsWith(groups, mapped) || startsWith(groups, nat64) ? dotted(groups[6]!, groups[7]!) : undefined
}

/**
 * Whether an address is public. Anything but an address is not. A mapped IPv4 address
 * and one behind the well-known prefix of NAT64 is judged by the IPv4 address; 6to4
 * and Teredo, which nobody serves any more, are never public.
 *
 * @category guards
 * @since 0.1.0
 */
export const isPublic = (address: string): boolean => {
  if (isIPv4(address)) return !blocked4.check(address, "ipv4")
  // A zone, as in `fe80::1%eth0`, names a link of this machine.
  if (isIP(address) !== 6 || address.includes("%")) return false
  const ipv4 = carried(address)
  if (ipv4 !== undefined) return isPublic(ipv4)
  return allowed6.check(address, "ipv6") && !blocked6.check(address, "ipv6")
}
