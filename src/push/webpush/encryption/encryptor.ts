/**
 * Encrypts messages with a new key pair for each, as RFC 8291 describes it, or with key
 * pairs that are reused for a while.
 *
 * With reuse each browser has its own key pair, for at most half an hour, and only in
 * memory. The salt is new for each message, so each message has its own key. A message
 * then costs a fifth. But the memory of the process opens all messages of a pair, and
 * the push service sees which messages have the same sender.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Duration from "effect/Duration"
import * as Crypto from "node:crypto"
import { encrypt, type Shared, sharedOf } from "./aes128gcm.ts"

/** A pair must not be reused for longer. */
export const maxReuse = Duration.minutes(30)

/** This many browsers can have a key pair; the one that was used longest ago goes first. 300 bytes each. */
const maxPairs = 50_000

/** A browser's keys. */
export interface Browser {
  /** Its public key, a point that was checked. */
  readonly point: Buffer
  readonly auth: Buffer
}

const saltBytes = 16
const saltsPerDraw = 256

/** Draws salts in blocks: a draw for each would cost as much as the cipher. */
class Salts {
  private block = Buffer.alloc(0)
  private at = 0

  next(): Buffer {
    if (this.at === this.block.length) {
      this.block = Crypto.randomFillSync(Buffer.allocUnsafeSlow(saltBytes * saltsPerDraw))
      this.at = 0
    }
    return this.block.subarray(this.at, this.at += saltBytes)
  }
}

interface Pair extends Shared {
  /** When it must no longer be used, in milliseconds of the monotonic clock. */
  readonly until: number
}

/** Encrypts messages. */
export class Encryptor {
  private readonly salts = new Salts()
  private readonly ecdh = Crypto.createECDH("prime256v1")
  private readonly pairs = new Map<string, Pair>()
  private readonly reuseMillis: number
  private readonly now: () => number

  /** `reuseMillis` is 0 for a new pair for each message. `now` is the monotonic clock, in milliseconds. */
  constructor(reuseMillis: number, now: () => number) {
    this.reuseMillis = reuseMillis
    this.now = now
  }

  /** How many key pairs are kept. */
  get size(): number {
    return this.pairs.size
  }

  encrypt(browser: Browser, plaintext: Uint8Array, padTo?: number): Buffer {
    const shared = this.reuseMillis === 0 ? this.fresh(browser) : this.reused(browser)
    return encrypt(shared, this.salts.next(), plaintext, padTo)
  }

  private fresh(browser: Browser): Shared {
    const sender = this.ecdh.generateKeys()
    return sharedOf(this.ecdh.computeSecret(browser.point), browser, sender)
  }

  private reused(browser: Browser): Shared {
    const name = browser.point.toString("latin1") + browser.auth.toString("latin1")
    const now = this.now()
    const known = this.pairs.get(name)
    // The map keeps the order of use.
    if (known !== undefined) this.pairs.delete(name)
    const pair = known !== undefined && now < known.until
      ? known
      : { ...this.fresh(browser), until: now + this.reuseMillis }
    if (this.pairs.size >= maxPairs) this.pairs.delete(this.pairs.keys().next().value!)
    this.pairs.set(name, pair)
    return pair
  }
}
