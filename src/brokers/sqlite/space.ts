/**
 * The space that deleted jobs took, which SQLite keeps for new ones: what is
 * more than a queue at work needs again soon goes back to the file system.
 *
 * Synchronous functions, to be called within a transaction.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"

/** Free pages that are kept: 4 MiB. */
const kept = 1024

/** Pages that are given back at a time, so that the event loop is held for a millisecond or two. */
const portion = 64

export class Space {
  private readonly freePages: StatementSync
  private readonly database: DatabaseSync

  constructor(database: DatabaseSync) {
    this.database = database
    this.freePages = database.prepare("PRAGMA freelist_count")
  }

  /** How many pages could be given back. */
  spare(): number {
    return Math.max(Number(this.freePages.get()?.["freelist_count"]) - kept, 0)
  }

  /**
   * Moves used pages into free ones and cuts the end of the file off. Returns about how many pages it wrote: none in a
   * file that was made anew by another program, and does not know which page belongs to which.
   */
  giveBack(): number {
    // others may have used it since it was looked for; and 0 would mean everything
    const spare = this.spare()
    const pages = Math.min(spare, portion)
    if (pages === 0) return 0
    this.database.exec(`PRAGMA incremental_vacuum(${pages})`)
    return this.spare() < spare ? 2 * pages : 0
  }
}
