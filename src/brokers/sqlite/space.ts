/**
 * Returns the space of deleted jobs to the disk. SQLite itself keeps it for new
 * jobs. {@link keptFreePages} stay in the file, because a busy queue needs them
 * again soon.
 *
 * Call all methods within a transaction.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"

/** This many free pages stay in the file: 4 MiB. */
const keptFreePages = 1024

/** One step returns at most this many pages. It holds the event loop for one or two milliseconds. */
const pagesPerStep = 64

/** The free pages of an open file. */
export class Space {
  private readonly freePages: StatementSync
  private readonly database: DatabaseSync

  constructor(database: DatabaseSync) {
    this.database = database
    this.freePages = database.prepare("PRAGMA freelist_count")
  }

  /** The number of pages that can be returned. */
  spare(): number {
    return Math.max(Number(this.freePages.get()?.["freelist_count"]) - keptFreePages, 0)
  }

  /**
   * Moves pages from the end of the file into free ones and cuts off the end. Returns about how many pages it wrote.
   * That is 0 in a copy made by another program without `auto_vacuum`: such a file can't shrink.
   */
  shrink(): number {
    // Another process may have used the space meanwhile, and 0 would mean all free pages.
    const spare = this.spare()
    const pages = Math.min(spare, pagesPerStep)
    if (pages === 0) return 0
    this.database.exec(`PRAGMA incremental_vacuum(${pages})`)
    return this.spare() < spare ? 2 * pages : 0
  }
}
