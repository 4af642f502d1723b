/** Files of their own for the tests of the broker in a file, and processes that use them. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { join } from "node:path"
import { type PutOptions, putRequest } from "../../src/Broker.ts"
import { folder } from "../beanstalk/servers.ts"
import { bytes } from "../conformance/Harness.ts"

/** A path where a file can be made. */
export const file = Effect.map(folder, (path) => join(path, "queue.db"))

/** A text as a request. */
export const request = (text: string, options?: PutOptions) => Result.getOrThrow(putRequest(bytes(text), options))
