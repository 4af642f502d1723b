/**
 * Google's rules for messages and targets. Each returns the rule that a value breaks, as
 * the end of a sentence that the path of the field begins, or `undefined`. Pure.
 */
import { safeName } from "../../../internal/text.ts"

/** A broken rule at a place below the checked value. */
export interface Issue {
  readonly path: ReadonlyArray<string>
  readonly issue: string
}

// -----------------------------------------------------------------------------
// Texts
// -----------------------------------------------------------------------------

/** The longest `ttl`: 4 weeks, in seconds. */
export const maxTtlSeconds = 2_419_200

/** A duration of proto3 JSON, at least 0: seconds with at most 9 decimals. */
const durationForm = /^\d{1,12}(?:\.\d{1,9})?s$/

export const duration = (value: string): string | undefined =>
  durationForm.test(value) ? undefined : "must be seconds with an s, such as \"3.5s\""

/** The seconds of a duration that is valid. */
export const secondsOf = (value: string): number => Number(value.slice(0, -1))

export const ttl = (value: string): string | undefined =>
  durationForm.test(value) && secondsOf(value) <= maxTtlSeconds
    ? undefined
    : `must be seconds with an s, such as "3600s", from 0 to ${maxTtlSeconds} (4 weeks)`

export const color = (value: string): string | undefined =>
  /^#[0-9a-f]{6}$/i.test(value) ? undefined : "must be a colour such as \"#ff8800\""

export const analyticsLabel = (value: string): string | undefined =>
  /^[a-zA-Z0-9\-_.~%]{1,50}$/.test(value)
    ? undefined
    : "must have 1 to 50 of the characters a-z, A-Z, 0-9 and -_.~%"

/** RFC 3339, section 5.6. */
export const timestamp = (value: string): string | undefined =>
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/i.test(value) && !Number.isNaN(Date.parse(value))
    ? undefined
    : "must be a time of RFC 3339, such as \"2026-01-31T09:00:00Z\""

const isUrl = (value: string, protocols: ReadonlyArray<string>): boolean =>
  URL.canParse(value) && protocols.includes(new URL(value).protocol)

export const url = (value: string): string | undefined =>
  isUrl(value, ["https:", "http:"]) ? undefined : "must be a URL such as \"https://example.com/a.png\""

export const httpsUrl = (value: string): string | undefined =>
  isUrl(value, ["https:"]) ? undefined : "must be a URL that begins with https://"

// -----------------------------------------------------------------------------
// Maps
// -----------------------------------------------------------------------------

const isReserved = (key: string): boolean =>
  key === "from" || key === "message_type" || key.startsWith("google.") || key.startsWith("gcm.notification.")

/** The first key of data that FCM reserves for itself. */
export const reservedKey = (data: object): Issue | undefined => {
  const key = Object.keys(data).find(isReserved)
  return key === undefined
    ? undefined
    : { path: [key], issue: "must have another name: FCM reserves from, message_type, google.* and gcm.notification.*" }
}

/** Arguments of a localized text without the key of the text. */
export const argumentsNeedKey = (notification: Readonly<Record<string, unknown>>): Issue | undefined => {
  for (const part of ["title", "body"]) {
    if (notification[`${part}LocArgs`] !== undefined && notification[`${part}LocKey`] === undefined) {
      return { path: [`${part}LocArgs`], issue: `must have its key: set ${part}LocKey, or remove the arguments` }
    }
  }
  return undefined
}

/** The keys that name a target, in the API. */
const targetKeys = ["token", "fid", "topic", "condition"]

/** A target inside of a message, which would be a second one. */
export const noTarget = (message: object): Issue | undefined => {
  const key = targetKeys.find((key) => Object.hasOwn(message, key))
  return key === undefined
    ? undefined
    : { path: [key], issue: "must not be in the message: the target is given apart, and there is exactly one" }
}

// -----------------------------------------------------------------------------
// Targets
// -----------------------------------------------------------------------------

/** A longer token is none. Google does not promise a length; today's have about 160 characters. */
const maxTokenChars = 4096

/** What a registration token, or the id of an installation, must be. */
export const token = (value: unknown): string | undefined =>
  typeof value === "string" && value.length <= maxTokenChars && /^[\x21-\x7e]+$/.test(value)
    ? undefined
    : `must be a text of 1 to ${maxTokenChars} letters, digits and signs, without blanks: use it as the app got it`

const topicForm = /^[a-zA-Z0-9\-_.~%]{1,900}$/

/** The name of a topic. */
export const topic = (value: unknown): string | undefined =>
  typeof value === "string" && topicForm.test(value)
    ? undefined
    : "must be the name of a topic: letters, digits and -_.~%, without /topics/"

/** A condition has at most this many topics. */
const maxTopics = 5

const maxConditionChars = 5000

/** A part of a condition, and the space after it: a topic, an operator or a bracket. */
const lexeme = /(?:'([^']*)'\s+in\s+topics\b|(&&|\|\||!|\(|\)))\s*/y

/** Splits a condition. A topic becomes `T`; `undefined` if it has other parts. */
const lexemes = (condition: string): { readonly words: Array<string>; readonly topics: Array<string> } | undefined => {
  const words: Array<string> = []
  const topics: Array<string> = []
  const text = condition.trimStart()
  lexeme.lastIndex = 0
  while (lexeme.lastIndex < text.length) {
    const found = lexeme.exec(text)
    if (found === null) return undefined
    if (found[1] === undefined) words.push(found[2]!)
    else {
      topics.push(found[1])
      words.push("T")
    }
  }
  return { words, topics }
}

/** Whether the words form an expression: operands with operators between them, and brackets in pairs. */
const isExpression = (words: ReadonlyArray<string>): boolean => {
  let depth = 0
  let needsOperand = true
  for (const word of words) {
    if (word === "!" || word === "(") {
      if (!needsOperand) return false
      if (word === "(") depth++
    } else if (word === "T") {
      if (!needsOperand) return false
      needsOperand = false
    } else {
      if (needsOperand) return false
      if (word === ")") {
        if (--depth < 0) return false
      } else needsOperand = true
    }
  }
  return depth === 0 && !needsOperand
}

/** A condition of topics, such as `'sports' in topics && ('news' in topics || 'weather' in topics)`. */
export const condition = (value: unknown): string | undefined => {
  const example = "such as \"'sports' in topics && !('news' in topics)\""
  if (typeof value !== "string" || value.length > maxConditionChars) return `must be a condition ${example}`
  const found = lexemes(value)
  if (found === undefined || !isExpression(found.words)) {
    return `must join terms like 'sports' in topics by && and ||, ${example}`
  }
  const wrong = found.topics.find((name) => !topicForm.test(name))
  if (wrong !== undefined) {
    return `must have names of topics in it, not '${safeName(wrong)}': letters, digits and -_.~%, without /topics/`
  }
  return found.topics.length > maxTopics
    ? `must have at most ${maxTopics} topics, not ${found.topics.length}`
    : undefined
}
