/**
 * Who gets a message: one installation of an app, or all installations that follow
 * topics.
 *
 * A text is short for a registration token. Google also gives installation ids (`fid`);
 * they work only for apps that registered by them. A token often looks like
 * `FID:APA91b...`: never cut it.
 */
import * as Schema from "effect/Schema"
import * as Rules from "./rules.ts"

/**
 * A target.
 *
 * @category models
 * @since 0.1.0
 */
export const Target = Schema.TaggedUnion({
  /** One installation, by its registration token. */
  Token: { token: Schema.String },
  /** One installation, by its Firebase installation id. */
  Fid: { fid: Schema.String },
  /** All installations that follow a topic. */
  Topic: { topic: Schema.String },
  /** All installations whose topics meet a condition: `'sports' in topics && !('news' in topics)`. At most 5 topics. */
  Condition: { condition: Schema.String }
})

/**
 * The decoded {@link Target}.
 *
 * @category models
 * @since 0.1.0
 */
export type Target = typeof Target.Type

/**
 * An installation, by its registration token.
 *
 * @category constructors
 * @since 0.1.0
 */
export const token = (token: string): Target => ({ _tag: "Token", token })

/**
 * An installation, by its Firebase installation id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fid = (fid: string): Target => ({ _tag: "Fid", fid })

/**
 * All installations that follow a topic. A `/topics/` before the name is removed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const topic = (topic: string): Target => ({
  _tag: "Topic",
  topic: typeof topic === "string" && topic.startsWith("/topics/") ? topic.slice(8) : topic
})

/**
 * All installations whose topics meet a condition.
 *
 * @category constructors
 * @since 0.1.0
 */
export const condition = (condition: string): Target => ({ _tag: "Condition", condition })

/**
 * The target of a text or a target: a text is a registration token.
 *
 * @category constructors
 * @since 0.1.0
 */
export const of = (target: Target | string): Target => typeof target === "string" ? token(target) : target

/**
 * The key of a target in the API.
 *
 * @category models
 * @since 0.1.0
 */
export type Field = "token" | "fid" | "topic" | "condition"

/**
 * The key of a target in the API, and its value.
 *
 * @category functions
 * @since 0.1.0
 */
export const fieldOf = (target: Target): { readonly field: Field; readonly value: string } => {
  switch (target._tag) {
    case "Token":
      return { field: "token", value: target.token }
    case "Fid":
      return { field: "fid", value: target.fid }
    case "Topic":
      return { field: "topic", value: target.topic }
    case "Condition":
      return { field: "condition", value: target.condition }
  }
}

const checks: Readonly<Record<Field, (value: unknown) => string | undefined>> = {
  token: Rules.token,
  fid: Rules.token,
  topic: Rules.topic,
  condition: Rules.condition
}

/**
 * The rule that a target breaks, or `undefined`.
 *
 * @category functions
 * @since 0.1.0
 */
export const check = (target: Target): { readonly field: string; readonly rule: string } | undefined => {
  const isTagged = typeof target === "object" && target !== null && Object.hasOwn(Target.cases, target._tag)
  if (!isTagged) return { field: "target", rule: "must be a token, or a target made by Target: use Target.topic(NAME)" }
  const { field, value } = fieldOf(target)
  const rule = checks[field](value)
  return rule === undefined ? undefined : { field, rule }
}
