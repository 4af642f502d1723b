// send-welcome.ts
import { Layer, ManagedRuntime, Schema } from "effect"
import { PostgresBroker } from "../../../src/brokers/postgres/index.ts"
import { Job, Publisher } from "../../../src/index.ts"

export const url = process.env["DATABASE_URL"] ?? "postgres://app@localhost/app"

export const SendWelcome = Job.make("send-welcome", { payload: Schema.Struct({ userId: Schema.Int }) })

export const backq = ManagedRuntime.make(Publisher.layer.pipe(Layer.provide(PostgresBroker.layer({ url }))))
