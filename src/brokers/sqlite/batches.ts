/**
 * How much one operation works on. Large calls are split, so that none of them
 * holds the event loop for long.
 */

/** One operation works on at most this many jobs. */
export const jobsPerOperation = 250

/** Splits a list into parts of at most `maxItems` items and at most `maxWeight`. An item above that has its own part. */
export const split = <A>(
  items: ReadonlyArray<A>,
  maxItems: number,
  maxWeight = Infinity,
  weightOf: (item: A) => number = () => 0
): ReadonlyArray<ReadonlyArray<A>> => {
  const parts: Array<Array<A>> = []
  let last: Array<A> = []
  let weight = 0
  for (const item of items) {
    weight += weightOf(item)
    if (last.length === 0 || last.length === maxItems || weight > maxWeight) {
      parts.push(last = [])
      weight = weightOf(item)
    }
    last.push(item)
  }
  return parts
}
