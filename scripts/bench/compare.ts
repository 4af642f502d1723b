/**
 * Measures candidates against each other: each is warmed up once, then they
 * take turns, and the table shows the median round beside the first candidate,
 * which is the limit. The page of benchmarks gets the ratios to that one.
 */
import { record, times } from "./record.ts"

/** Does something `n` times. */
export type Candidate = (n: number) => Promise<void>

/** Figures of one run: how many a second, and microseconds of CPU for each. */
interface Figures {
  readonly rate: number
  readonly cpu: number
  readonly server: number
}

/** How candidates are compared. */
export interface Options {
  readonly rounds: number
  /** How many jobs or requests a candidate does. */
  readonly n: (name: string) => number
  readonly before?: ((n: number, name: string) => Promise<void>) | undefined
  readonly after?: Candidate | undefined
  /** The column that relates a rate to the limit. */
  readonly ratio: { readonly title: string; readonly of: (rate: number, limit: number) => string }
  /** The CPU time of a server so far, in microseconds, if there is one. */
  readonly serverCpu?: (() => number) | undefined
}

const measure = async (candidate: Candidate, n: number, serverCpu: () => number): Promise<Figures> => {
  globalThis.gc?.()
  const cpu = process.cpuUsage()
  const cpuOfServer = serverCpu()
  const start = performance.now()
  await candidate(n)
  const seconds = (performance.now() - start) / 1000
  const { system, user } = process.cpuUsage(cpu)
  return { rate: n / seconds, cpu: (user + system) / n, server: (serverCpu() - cpuOfServer) / n }
}

const median = (all: ReadonlyArray<Figures>): Figures => {
  const pick = (field: keyof Figures) => all.map((one) => one[field]).toSorted((a, b) => a - b)[all.length >> 1]!
  return { rate: pick("rate"), cpu: pick("cpu"), server: pick("server") }
}

/** Measures, and prints the table. */
export const compare = async (title: string, candidates: Record<string, Candidate>, options: Options) => {
  const { after, before, ratio, rounds, serverCpu } = options
  const figures: Record<string, Array<Figures>> = {}
  for (let round = -1; round < rounds; round++) {
    for (const [name, candidate] of Object.entries(candidates)) {
      const n = options.n(name)
      await before?.(n, name)
      const result = await measure(candidate, n, serverCpu ?? (() => 0))
      await after?.(n)
      if (round >= 0) (figures[name] ??= []).push(result)
    }
  }
  const base = median(Object.values(figures)[0]!)
  const limit = base.rate
  const row = (name: string, rate: string, related: string, cpu: string, server: string) =>
    name.padEnd(32) + rate.padStart(9) + related.padStart(10) + cpu.padStart(9) +
    (serverCpu === undefined ? "" : server.padStart(11))
  console.log(`\n${title}`)
  console.log(row("", "jobs/s", ratio.title, "CPU us", "server us"))
  for (const [name, all] of Object.entries(figures)) {
    const { cpu, rate, server } = median(all)
    console.log(row(name, String(Math.round(rate)), ratio.of(rate, limit), cpu.toFixed(1), server.toFixed(1)))
  }
  record({
    title,
    columns: ["rate", "CPU per job", ...(serverCpu === undefined ? [] : ["CPU of the server"])],
    rows: Object.entries(figures).map(([name, all]) => {
      const { cpu, rate, server } = median(all)
      const ofServer = serverCpu === undefined ? [] : [times(server, base.server)]
      return [name, times(rate, base.rate), times(cpu, base.cpu), ...ofServer] as const
    })
  })
}
