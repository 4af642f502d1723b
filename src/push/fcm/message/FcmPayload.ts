/**
 * The payload of a push job: one message for one or many targets of one kind.
 *
 * The wire form is plain JSON, so that any language can publish it:
 *
 * ```json
 * {
 *   "tokens": ["dQw4:APA91b..."],
 *   "project": "my-project",
 *   "message": {
 *     "notification": { "title": "Order 42", "body": "Shipped" },
 *     "data": { "order": "42" },
 *     "android": { "priority": "HIGH", "ttl": "3600s" }
 *   }
 * }
 * ```
 *
 * Instead of `tokens` it has `fids`, `topic` or `condition`. `project` is optional. The
 * message is one of Google's API v1 without its target, with names in either spelling
 * (`collapseKey`, `collapse_key`). A worker sets `backqOrigin` when it publishes pushes
 * again. A message that breaks one of Google's rules is refused when it is published and
 * when it is read. Tokens are not checked here, so that a wrong one does not keep the
 * message from the others.
 */
import * as Arr from "effect/Array"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { exactNumbers } from "../../../Job.ts"
import { PushJob } from "../../job/index.ts"
import { check } from "./Encoder.ts"
import type { Message } from "./Message.ts"
import { inCamelCase } from "./spelling.ts"
import * as Target from "./Target.ts"

const texts = Schema.optionalKey(Schema.NonEmptyArray(Schema.String))

const text = Schema.optionalKey(Schema.String)

const targetKeys = ["tokens", "fids", "topic", "condition"] as const

const Wire = Schema.Struct({
  tokens: texts,
  fids: texts,
  topic: text,
  condition: text,
  project: text,
  message: Schema.Unknown,
  backqOrigin: Schema.optionalKey(PushJob.Origin)
}).check(
  Schema.makeFilter((wire) =>
    targetKeys.filter((key) => wire[key] !== undefined).length === 1
      ? undefined
      : `Expected exactly one of ${targetKeys.join(", ")}`
  )
)

type Wire = typeof Wire.Type

const CheckedMessage = Schema.declare((u: unknown): u is Message => typeof u === "object" && u !== null, {
  expected: "a message"
}).check(
  Schema.makeFilter((message) => {
    const broken = check(message)
    return broken === undefined ? undefined : `${broken.field} ${broken.rule}`
  })
)

const targetsIn = ({ condition, fids, tokens, topic }: Wire): Arr.NonEmptyReadonlyArray<Target.Target> => {
  if (tokens !== undefined) return Arr.map(tokens, Target.token)
  if (fids !== undefined) return Arr.map(fids, Target.fid)
  return [topic === undefined ? Target.condition(condition ?? "") : Target.topic(topic)]
}

const wireTargets = (targets: Arr.NonEmptyReadonlyArray<Target.Target>) => {
  const [first] = targets
  const values = Arr.map(targets, (target) => Target.fieldOf(target).value)
  switch (first._tag) {
    case "Token":
      return { tokens: values }
    case "Fid":
      return { fids: values }
    case "Topic":
      return { topic: first.topic }
    case "Condition":
      return { condition: first.condition }
  }
}

/** A job has many tokens, or many installation ids, or one topic or condition. */
const areOfOneKind = (targets: Arr.NonEmptyReadonlyArray<Target.Target>): boolean => {
  const [{ _tag }] = targets
  return targets.length === 1 || (
    (_tag === "Token" || _tag === "Fid") && targets.every((target) => target._tag === _tag)
  )
}

/**
 * One message for one or many targets.
 *
 * @category models
 * @since 0.1.0
 */
export const FcmPayload = Wire.pipe(
  Schema.decodeTo(
    Schema.Struct({
      /** Tokens, or installation ids, or one topic or condition. */
      targets: Schema.NonEmptyArray(Schema.toType(Target.Target)).check(
        Schema.makeFilter((targets) =>
          areOfOneKind(targets) ? undefined : "Expected tokens, or installation ids, or one topic, or one condition"
        )
      ),
      /** The id of the project. Default: that of the first credential. */
      project: text,
      message: CheckedMessage,
      /** Only in jobs that a worker has published again. */
      origin: Schema.optionalKey(PushJob.Origin)
    }),
    SchemaTransformation.transform({
      decode: ({ backqOrigin: origin, project, ...wire }: Wire) => ({
        targets: targetsIn(wire),
        message: inCamelCase(wire.message) as Message,
        ...(project === undefined ? undefined : { project }),
        ...(origin === undefined ? undefined : { origin })
      }),
      encode: ({ message, origin, project, targets }): Wire => ({
        ...wireTargets(targets),
        message,
        ...(project === undefined ? undefined : { project }),
        ...(origin === undefined ? undefined : { backqOrigin: origin })
      })
    })
  ),
  // Numbers in Apple's payload reach the device with all digits.
  Schema.annotate({ [exactNumbers]: true })
)

/**
 * The decoded {@link FcmPayload}.
 *
 * @category models
 * @since 0.1.0
 */
export type FcmPayload = typeof FcmPayload.Type
