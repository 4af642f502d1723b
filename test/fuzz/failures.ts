import * as Attempts from "../support/attempts.ts"
import * as Fuzz from "../support/fuzz.ts"
import { Random } from "../support/Random.ts"
import * as Strange from "../support/strange.ts"

/** The seed of the values, which could not be shown themselves. */
interface Input {
  readonly seed: number
  readonly size: number
}

export const target = Fuzz.make<Input>({
  name: "failures",
  about: "the failures, defects and results of handlers",
  rounds: 60,
  make: (random, size) => ({ seed: random.below(2 ** 32), size }),
  feed: ({ seed, size }) => {
    const random = new Random(seed)
    const values = Array.from({ length: 3 }, () => ["it", Strange.failure(random, size)] as const)
    return Attempts.check(values, { traced: random.chance(0.5) })
  }
})
