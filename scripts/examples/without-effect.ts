/**
 * Publishing from a program without Effect: one runtime for the program, and a
 * promise per job.
 *
 *     npx tsx scripts/examples/without-effect.ts
 */
import { Effect, Layer, ManagedRuntime, Schema } from "effect"
// in a project: from "backq" and "backq/broker-url"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"

const SendWelcome = Job.make("send-welcome", { payload: Schema.Struct({ userId: Schema.String }) })

// Stands for a library that returns promises.
const sendMail = async (userId: string): Promise<void> => console.log(`welcome, user ${userId}`)

const backq = ManagedRuntime.make(Publisher.layer.pipe(Layer.provideMerge(BrokerUrl.layerConfig())))

const signUp = (userId: string): Promise<string> => backq.runPromise(Publisher.publish(SendWelcome, { userId }))

console.log(`published job ${await signUp("42")}`)

// A worker is a promise, too. This one ends after one job. If the handler's promise rejects, the attempt fails.
const handler = Worker.handler(SendWelcome, ({ userId }) => Effect.tryPromise(() => sendMail(userId)))
const { counts } = await backq.runPromise(Worker.run({ maxJobs: 1 }, handler))
console.log(`done: ${counts.Done}`)

// Closes the broker. Otherwise an open connection keeps the program running.
await backq.dispose()
