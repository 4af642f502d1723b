/**
 * From bytes to answers: the one place where what a peer sends is bounded and
 * held against what it was asked.
 *
 * Every driver hands it what its socket received. It returns why the
 * connection has to end, and after that takes nothing more.
 */
import type { Command } from "./command.ts"
import type { Ending } from "./Connection.ts"
import { bodyLimit, objection } from "./expected.ts"
import type { Pipeline, Unanswered } from "./pipeline.ts"
import { type BodyHead, Parser, type Reply } from "./reply.ts"

/** So many bytes of a large body are progress. Fewer may be a peer that means to hold us up. */
const progressSize = 16_384

export class Receiver {
  /** Was there a reply? */
  answered = false
  private readonly pipeline: Pipeline
  /** The answer to a command in whose place the driver sends another. */
  private readonly instead: ((command: Command) => Unanswered | undefined) | undefined
  private readonly parser = new Parser((head) => this.limit(head))
  private ending: Ending | undefined
  private sinceProgress = 0

  constructor(pipeline: Pipeline, instead?: (command: Command) => Unanswered | undefined) {
    this.pipeline = pipeline
    this.instead = instead
  }

  /** The beginning of a line whose end has not arrived. */
  get unfinishedLine(): string {
    return this.parser.unfinishedLine
  }

  /** Is a reply begun and not ended? */
  get isInside(): boolean {
    return this.parser.isInside
  }

  /** Answers what the bytes answer. Returns why that is not possible. */
  take(bytes: Uint8Array): Ending | undefined {
    if (this.ending !== undefined) return this.ending
    const violation = this.parser.feed(bytes, this)
    this.sinceProgress += bytes.length
    if (this.sinceProgress >= progressSize) {
      this.sinceProgress = 0
      this.pipeline.progress++
    }
    if (violation !== undefined) this.ending ??= { detail: violation.detail, violation: true }
    return this.ending
  }

  /** Takes one reply from the parser. */
  push(reply: Reply): void {
    if (this.ending !== undefined) return
    const command = this.pipeline.awaited
    if (command === undefined) {
      this.ending = { detail: `it sent "${reply._tag}", which nobody asked for`, violation: true }
      return
    }
    this.answered = true
    const instead = this.instead?.(command)
    const wrong = instead === undefined ? objection(command, reply) : undefined
    if (wrong === undefined) this.pipeline.answer(instead ?? reply)
    else this.ending = { detail: wrong, violation: true }
  }

  private limit(head: BodyHead): number {
    const command = this.pipeline.awaited
    return command === undefined ? 0 : bodyLimit(command, head.kind, this.pipeline.maxJobSize)
  }
}
