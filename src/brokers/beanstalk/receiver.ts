/**
 * Turns received bytes into answers. All drivers use it: it alone limits the size
 * of replies, and checks each reply against its command.
 *
 * If the peer breaks the protocol it returns the reason, and ignores all later
 * bytes. The caller must end the connection.
 */
import type { Command } from "./command.ts"
import type { Ending } from "./Connection.ts"
import { bodyLimit, mismatch } from "./expected.ts"
import type { Pipeline, Unanswered } from "./pipeline.ts"
import { type BodyHead, Parser, type Reply } from "./reply.ts"

/** A large body counts as progress each time this much of it arrives. Less may be a peer that stalls on purpose. */
const progressBytes = 16_384

/** Reads the replies of one connection. */
export class Receiver {
  /** Whether there was a reply. */
  answered = false
  private readonly pipeline: Pipeline
  /** The answer to a command that the driver replaces by another. */
  private readonly instead: ((command: Command) => Unanswered | undefined) | undefined
  private readonly parser = new Parser((head) => this.limit(head))
  private ending: Ending | undefined
  private sinceProgress = 0

  constructor(pipeline: Pipeline, instead?: (command: Command) => Unanswered | undefined) {
    this.pipeline = pipeline
    this.instead = instead
  }

  /** The part of a line that has arrived. */
  get unfinishedLine(): string {
    return this.parser.unfinishedLine
  }

  /** Whether a part of a reply has arrived. */
  get isInside(): boolean {
    return this.parser.isInside
  }

  /** Reads bytes. Returns the reason if the connection must end. */
  take(bytes: Uint8Array): Ending | undefined {
    if (this.ending !== undefined) return this.ending
    const violation = this.parser.feed(bytes, this)
    this.sinceProgress += bytes.length
    if (this.sinceProgress >= progressBytes) {
      this.sinceProgress = 0
      this.pipeline.progress++
    }
    if (violation !== undefined) this.ending ??= { detail: violation.detail, violation: true }
    return this.ending
  }

  /** Called by the parser with each reply. */
  push(reply: Reply): void {
    if (this.ending !== undefined) return
    const command = this.pipeline.awaited
    if (command === undefined) {
      this.ending = { detail: `it sent "${reply._tag}", but no command awaits a reply`, violation: true }
      return
    }
    this.answered = true
    const instead = this.instead?.(command)
    const wrong = instead === undefined ? mismatch(command, reply) : undefined
    if (wrong === undefined) this.pipeline.answer(instead ?? reply)
    else this.ending = { detail: wrong, violation: true }
  }

  private limit(head: BodyHead): number {
    const command = this.pipeline.awaited
    return command === undefined ? 0 : bodyLimit(command, head.kind, this.pipeline.maxJobSize)
  }
}
