/**
 * The bookkeeping of a pipelined connection, without the connection.
 *
 * Batches of commands wait in one line. A sender takes commands off the front
 * with `next`; replies are handed to `answer` in the order in which they
 * arrive, and go to the oldest batch that is owed one. Every batch is settled
 * exactly once, with one answer for each of its commands: by its replies, or
 * by `end`.
 */
import type { BrokerError } from "../../BrokerError.ts"
import type { Command } from "./command.ts"
import { maxJob } from "./expected.ts"
import type { Reply } from "./reply.ts"

/** There will be no reply; the error says why, and whether the command was sent. */
export interface Unanswered {
  readonly _tag: "Unanswered"
  readonly error: BrokerError
}

/** What becomes of a command. */
export type Answer = Reply | Unanswered

interface Batch {
  readonly commands: ReadonlyArray<Command>
  readonly answers: Array<Answer>
  readonly done: (answers: ReadonlyArray<Answer>) => void
  /** How many commands are to be sent: all, unless the batch was cancelled. */
  limit: number
  sent: number
  next: Batch | undefined
}

const cancelNothing = () => {}

export class Pipeline {
  private head: Batch | undefined
  private tail: Batch | undefined
  /** The first batch that may have commands to send. */
  private sending: Batch | undefined
  /** The batch of the last command that was taken. */
  private last: Batch | undefined
  private ended: { readonly sent: BrokerError; readonly notSent: BrokerError } | undefined

  /** How many commands were sent and not answered. */
  outstanding = 0
  /** Grows with every reply received, and with every piece of a large body sent or received. */
  progress = 0
  /** The last command taken has not left in full, so the server can't have carried it out. */
  isCutOff = false
  /** How large a job of this server can be. */
  maxJobSize = maxJob
  /** Called when there is something to send, which may wait for what else is asked for in this turn of the event loop. */
  wake: (mayWait: boolean) => void = () => {}

  get isEnded(): boolean {
    return this.ended !== undefined
  }

  /**
   * Puts a batch at the end of the line. `done` gets one answer for each
   * command, once; at once when the pipeline has ended.
   *
   * Returns a function that keeps back those commands that were not sent yet.
   * `done` is called for a cancelled batch too, with the answers to the
   * commands that had been sent.
   */
  submit(
    commands: ReadonlyArray<Command>,
    done: (answers: ReadonlyArray<Answer>) => void,
    mayWait = false
  ): () => void {
    const batch: Batch = { commands, answers: [], done, limit: commands.length, sent: 0, next: undefined }
    if (this.ended !== undefined || commands.length === 0) {
      this.finish(batch)
      return cancelNothing
    }
    if (this.tail === undefined) this.head = batch
    else this.tail.next = batch
    this.tail = batch
    this.sending ??= batch
    this.wake(mayWait)
    return () => {
      batch.limit = batch.sent
      this.settle()
    }
  }

  /** The next command to send. What it returns counts as sent. */
  next(): Command | undefined {
    for (let batch = this.sending; batch !== undefined; batch = batch.next) {
      if (batch.sent < batch.limit) {
        this.sending = this.last = batch
        this.outstanding++
        return batch.commands[batch.sent++]
      }
    }
    this.sending = undefined
    return undefined
  }

  /** Is there a command that was not sent yet? */
  get hasUnsent(): boolean {
    let batch = this.sending
    while (batch !== undefined && batch.sent >= batch.limit) batch = batch.next
    return batch !== undefined
  }

  /** The oldest command that is sent and not answered. */
  get awaited(): Command | undefined {
    const head = this.head
    return head !== undefined && head.answers.length < head.sent ? head.commands[head.answers.length] : undefined
  }

  /** Takes a reply. False when no command is owed one. */
  answer(reply: Answer): boolean {
    const head = this.head
    if (head === undefined || head.answers.length >= head.sent) return false
    head.answers.push(reply)
    this.outstanding--
    this.progress++
    if (head.answers.length >= head.limit) this.settle()
    return true
  }

  /** Settles all batches, and every later one at once. Only the first call counts. */
  end(errors: { readonly sent: BrokerError; readonly notSent: BrokerError }): void {
    if (this.ended !== undefined) return
    this.ended = errors
    if (this.isCutOff && this.last !== undefined) this.last.sent--
    let batch = this.head
    this.head =
      this.tail =
      this.sending =
      this.last =
        undefined
    this.outstanding = 0
    while (batch !== undefined) {
      const next = batch.next
      this.finish(batch)
      batch = next
    }
  }

  private settle(): void {
    let batch = this.head
    while (batch !== undefined && batch.answers.length >= batch.limit) {
      this.head = batch.next
      if (this.head === undefined) this.tail = undefined
      if (this.sending === batch) this.sending = batch.next
      batch.done(batch.answers)
      batch = this.head
    }
  }

  private finish(batch: Batch): void {
    if (this.ended !== undefined) {
      const sent: Unanswered = { _tag: "Unanswered", error: this.ended.sent }
      const notSent: Unanswered = { _tag: "Unanswered", error: this.ended.notSent }
      while (batch.answers.length < batch.limit) {
        batch.answers.push(batch.answers.length < batch.sent ? sent : notSent)
      }
    }
    batch.done(batch.answers)
  }
}
