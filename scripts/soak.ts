/**
 * `npm run soak`: runs the long tests for as long as you like.
 *
 *     npm run soak                                   lists the names
 *     npm run soak -- fuzz/envelope --rounds 100000  one of them
 *     npm run soak -- fuzz                           all whose names begin with it
 *
 * `--rounds` says how many rounds each takes, `--seed` what they are made from,
 * and `--from` the number of the first. A round that fails is printed with what
 * brings it again; the exit code is then 1.
 */
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import { startVitest } from "vitest/node"
import { possible, round } from "../test/failover/failover.ts"
import { postgresKills } from "../test/kills/postgres.ts"
import * as Push from "../test/kills/push/push.ts"
import { sqliteKills } from "../test/kills/sqlite.ts"
import * as Transactions from "../test/kills/transactions.ts"
import { transferKills } from "../test/kills/transfer.ts"
import * as Fuzz from "../test/support/fuzz.ts"

/** An endless list of rounds: the same seed and number make the same round. */
interface Soak {
  readonly name: string
  readonly about: string
  /** The number of rounds without `--rounds`. */
  readonly rounds: number
  /** At most this many rounds share a start and an end. */
  readonly together: number
  /** Runs some rounds. Throws when a guarantee was broken. The program prints the returned value. */
  readonly take: (seed: string, index: number, rounds: number) => Promise<unknown>
}

const fuzz = (target: Fuzz.Target): Soak => ({
  name: Fuzz.soakName(target),
  about: target.about,
  rounds: target.rounds * 20,
  together: 1,
  take: (seed, index) => Fuzz.feedOne(target, seed, index)
})

const kills = (
  name: string,
  about: string,
  run: (seed: string, index: number, rounds: number) => Effect.Effect<unknown, unknown>
): Soak => ({
  name,
  about,
  rounds: 200,
  together: 20,
  take: (seed, index, rounds) => Effect.runPromise(run(seed, index, rounds))
})

const failover: Soak = {
  name: "postgres-failover",
  about: "a primary of PostgreSQL fails or its disk is full under load, and nothing acknowledged is lost",
  rounds: 28,
  together: 1,
  take: (_, index) => Effect.runPromise(round(possible[index % possible.length]!))
}

/** Takes a file of vitest that is too long for `npm test`. */
const whole = (name: string, about: string, file: string): Soak => ({
  name,
  about,
  rounds: 1,
  together: 1,
  take: async () => {
    // The projects of the configuration have no soaks.
    const vitest = await startVitest("test", [file], {
      config: false,
      run: true,
      watch: false,
      include: ["test/**/*.soak.ts"]
    })
    const isPassed = vitest.state.getCountOfFailedTests() === 0 && vitest.state.getFiles().length > 0
    await vitest.close()
    if (!isPassed) throw new Error(`${file} failed`)
  }
})

const soaks: ReadonlyArray<Soak> = [
  ...(await Fuzz.targets()).map(fuzz),
  kills("sqlite-kills", "two publishers and two workers on one file die by kill -9, and no job is lost", sqliteKills),
  kills(
    "postgres-kills",
    "four publishers and four workers of PostgreSQL die by kill -9, and no job is lost",
    postgresKills
  ),
  kills(
    "transfer-kills",
    "transfers between all pairs of brokers die by kill -9, and no job is lost",
    transferKills
  ),
  failover,
  {
    name: "push-devices",
    about:
      "10,000 push jobs of each kind through beanstalkd and SQLite, on a bad day, by a worker that dies by kill -9",
    rounds: Push.roundsOfAll,
    together: 1,
    take: (seed, index) => Effect.runPromise(Push.round(seed, index))
  },
  whole(
    "postgres-pooled",
    "the whole suite and the model of a broker, behind pgbouncer in transaction mode",
    "test/brokers/postgres/pooled.soak.ts"
  ),
  {
    ...kills(
      "postgres-publishes",
      "transactions of each client that publish commit, roll back and are killed; a job exists if its row does",
      Transactions.publishes
    ),
    rounds: 1000,
    together: 1000
  },
  {
    ...kills(
      "postgres-settles",
      "workers die whose handlers settle in their transactions, and each job is written down once",
      Transactions.settles
    ),
    rounds: 1000,
    together: 100
  }
]

const refuse = (what: string): never => {
  console.error(what)
  process.exit(2)
}

const readArguments = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        rounds: { type: "string" },
        seed: { type: "string", default: String(Date.now()) },
        from: { type: "string", default: "0" }
      }
    })
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error))
  }
}

const { positionals: [wanted], values } = readArguments()

const count = (option: string, text: string): number => {
  const number = Number(text)
  return Number.isSafeInteger(number) && number >= 0
    ? number
    : refuse(`--${option} must be a whole number: it is ${JSON.stringify(text)}`)
}

const listed = soaks.map(({ about, name }) => `${name.padEnd(28)} ${about}`).join("\n")

/** The current round, for errors from callbacks. */
let current = ""

process.on("uncaughtException", (error) => {
  console.error(`${current} failed outside of its round`)
  console.error(error)
  process.exit(1)
})

const take = async (soak: Soak, from: number, rounds: number, seed: string): Promise<boolean> => {
  console.log(`${soak.name}: ${rounds} rounds from ${from}, seed ${seed}`)
  const started = performance.now()
  for (let index = from; index < from + rounds; index += soak.together) {
    current = `${soak.name}: round ${index}, seed ${seed},`
    try {
      const counted = await soak.take(seed, index, Math.min(soak.together, from + rounds - index))
      if (counted !== undefined) console.log(`${soak.name}: from round ${index}: ${JSON.stringify(counted)}`)
    } catch (error) {
      console.log(
        `${soak.name}: round ${index} failed, seed ${seed}\n${error instanceof Error ? error.message : error}`
      )
      return false
    }
  }
  console.log(`${soak.name}: ${rounds} rounds passed in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  return true
}

if (wanted === undefined) {
  console.log(listed)
} else {
  const chosen = soaks.filter(({ name }) => name === wanted || name.startsWith(`${wanted}/`))
  if (chosen.length === 0) refuse(`there is no ${JSON.stringify(wanted)}; there are:\n${listed}`)
  const from = count("from", values.from)
  const rounds = values.rounds === undefined ? undefined : count("rounds", values.rounds)
  const results: Array<boolean> = []
  for (const soak of chosen) results.push(await take(soak, from, rounds ?? soak.rounds, values.seed))
  process.exit(results.every(Boolean) ? 0 : 1)
}
