import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ExitPolicy from "../../src/process/ExitPolicy.ts"
import * as OutputTail from "../../src/process/OutputTail.ts"
import { exited, ProcessRunner, run } from "../../src/process/Process.ts"
import * as ProcessError from "../../src/process/ProcessError.ts"
import { ProcessPayload } from "../../src/process/ProcessPayload.ts"
import * as ProcessPolicy from "../../src/process/ProcessPolicy.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"

const fields = {
  command: ["convert", "in.png", "out.jpg"],
  cwd: "/srv/images",
  env: { LANG: "C", DISPLAY: null },
  extendEnv: false,
  input: { base64: "AAEC" },
  timeout: 30_000,
  outputLimit: 1000,
  detach: false
}

const policies = [
  ProcessPolicy.open,
  ProcessPolicy.argvOnly,
  ProcessPolicy.make({
    programs: ["convert"],
    directories: ["/srv/images"],
    environment: ["LANG", "DISPLAY"],
    maxTimeout: "10 minutes"
  })
]

const decode = Schema.decodeUnknownResult(ProcessPayload)

const own = { PATH: "/bin", BACKQ_BROKER: "secret", OTHER: "secret" }

interface Input {
  /** The payload of a job, as it came. */
  readonly json: string
  /** What its process writes. */
  readonly written: Uint8Array
}

/** Everything that a worker does with a payload, except for starting a process: the fake runner fails with the written input. */
const work = (json: string, written: Uint8Array) =>
  Effect.gen(function*() {
    const parsed = Result.try(() => JSON.parse(json) as unknown)
    if (Result.isFailure(parsed)) return
    const payload = decode(parsed.success)
    if (Result.isFailure(payload)) return
    for (const policy of policies) {
      const outcome = yield* Effect.result(run(payload.success)).pipe(
        Effect.provide(Layer.merge(
          ProcessRunner.layerTest(({ command }) =>
            written.length % 2 === 0
              ? Effect.succeed(exited({ exitCode: 1, stderr: written }))
              : Effect.fail(ProcessError.make(
                new ProcessError.TimedOut({
                  command: ProcessError.display(command),
                  timeout: Duration.fromInputUnsafe(payload.success.timeout ?? "1 second"),
                  pid: 1,
                  stdout: OutputTail.fromText(written),
                  stderr: OutputTail.fromText(written)
                })
              ))
          ),
          ProcessPolicy.layer(policy)
        ))
      )
      const decision = ExitPolicy.decide(ExitPolicy.make(), outcome)
      if (decision._tag !== "Done") Fuzz.checkWords(decision.reason)
      const environment = ProcessPolicy.environmentOf(policy, payload.success, own)
      if (environment["BACKQ_BROKER"] === "secret") throw new Error("a secret is passed on")
    }
    Fuzz.checkWords(OutputTail.lastChars(OutputTail.fromText(written), 1000))
  })

export const target = Fuzz.make<Input>({
  name: "process",
  about: "the payloads of process jobs, and the output of processes",
  rounds: 1000,
  make: (random, size) => ({
    json: random.pick([
      () => Hostile.jsonObject(random, size, fields),
      () => JSON.stringify({ ...fields, command: [Hostile.text(random, size) || "x", Hostile.text(random, size)] }),
      () => JSON.stringify({ ...fields, env: { [Hostile.text(random, size)]: Hostile.text(random, size) } }),
      () => JSON.stringify({ ...fields, cwd: `/${Hostile.text(random, size)}`, command: Hostile.text(random, size) })
    ])(),
    written: Hostile.bytes(random, size)
  }),
  feed: ({ json, written }) => work(json, written),
  grow: [
    ...Hostile.runs.flatMap((run) => [
      (size: number) => ({ json: JSON.stringify(fields), written: Hostile.bytesOf(Hostile.fill(run, size)) }),
      (size: number) => {
        const text = Hostile.fill(run, size)
        return {
          json: JSON.stringify({ command: [text, text], cwd: text, env: { [text]: text } }),
          written: new Uint8Array(2)
        }
      }
    ]),
    (size) => ({
      json: JSON.stringify({
        command: Array.from({ length: size / 8 }, () => "\u001b"),
        env: Object.fromEntries(Array.from({ length: size / 8 }, (_, i) => [i, "x"]))
      }),
      written: new Uint8Array(3)
    })
  ]
})
