/**
 * The queue of commands and answers of a pipelined connection, without a socket.
 *
 * Batches of commands form one queue. A sender takes commands from its front with
 * `next`. Each reply goes to `answer` in the order of arrival, and answers the
 * oldest command without one. Every batch is settled exactly once, with one
 * answer for each command: by its replies, or by `end`.
 */
import type { BrokerError } from "../../BrokerError.ts"
import type { Command } from "./command.ts"
import { maxJobBytes } from "./expected.ts"
import type { Reply } from "./reply.ts"

/** No reply will come. The error says why, and its fate whether the command was sent. */
export interface Unanswered {
  readonly _tag: "Unanswered"
  readonly error: BrokerError
}

/** The result of a command. */
export type Answer = Reply | Unanswered

interface Batch {
  readonly commands: ReadonlyArray<Command>
  readonly answers: Array<Answer>
  readonly done: (answers: ReadonlyArray<Answer>) => void
  /** The number of commands to send: all, unless the batch was cancelled. */
  limit: number
  sent: number
  next: Batch | undefined
}

const cancelNothing = () => {}

/** The batches of one connection. */
export class Pipeline {
  private head: Batch | undefined
  private tail: Batch | undefined
  /** The first batch that may have commands to send. */
  private sending: Batch | undefined
  /** The batch of the last command from `next`. */
  private last: Batch | undefined
  private ended: { readonly sent: BrokerError; readonly notSent: BrokerError } | undefined

  /** The number of commands that were sent and have no answer. */
  outstanding = 0
  /** Grows with each reply, and with each piece of a large body in either direction. */
  progress = 0
  /** Whether the last command from `next` has only left in part, so that the server can't have executed it. */
  isCutOff = false
  /** The size limit of the server's jobs, in bytes. */
  maxJobSize = maxJobBytes
  /** Called when there are commands to send. */
  wake: () => void = () => {}

  get isEnded(): boolean {
    return this.ended !== undefined
  }

  /**
   * Adds a batch to the queue. `done` is called once, with one answer for each command. It is called at once if the
   * pipeline has ended.
   *
   * Returns a function that cancels the commands that were not sent yet. Then `done` gets the answers to the others.
   */
  submit(commands: ReadonlyArray<Command>, done: (answers: ReadonlyArray<Answer>) => void): () => void {
    const batch: Batch = { commands, answers: [], done, limit: commands.length, sent: 0, next: undefined }
    if (this.ended !== undefined || commands.length === 0) {
      this.finish(batch)
      return cancelNothing
    }
    if (this.tail === undefined) this.head = batch
    else this.tail.next = batch
    this.tail = batch
    this.sending ??= batch
    this.wake()
    return () => {
      batch.limit = batch.sent
      this.settle()
    }
  }

  /** Returns the next command, which then counts as sent. */
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

  /** Whether there are commands to send. */
  get hasUnsent(): boolean {
    let batch = this.sending
    while (batch !== undefined && batch.sent >= batch.limit) batch = batch.next
    return batch !== undefined
  }

  /** The oldest command that was sent and has no answer. */
  get awaited(): Command | undefined {
    const head = this.head
    return head !== undefined && head.answers.length < head.sent ? head.commands[head.answers.length] : undefined
  }

  /** Answers the awaited command. Returns `false` if there is none. */
  answer(reply: Answer): boolean {
    const head = this.head
    if (head === undefined || head.answers.length >= head.sent) return false
    head.answers.push(reply)
    this.outstanding--
    this.progress++
    if (head.answers.length >= head.limit) this.settle()
    return true
  }

  /** Settles all batches, and every later one at once. Only the first call has an effect. */
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
