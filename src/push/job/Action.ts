/** What is to be done about a push that was not accepted: the same words for every push service. */
import * as Schema from "effect/Schema"

/**
 * What to do next.
 *
 * | action | who acts | the push |
 * |---|---|---|
 * | `DropToken` | the application deletes the device token, unless it was registered again after the answer's timestamp | is over |
 * | `CheckToken` | the application looks at the token: it is malformed, or belongs to another environment or app | is over |
 * | `DropChannel` | the application deletes the broadcast channel | is over |
 * | `FixNotification` | a programmer changes the notification | never works as it is |
 * | `FixConfiguration` | an operator changes key, certificate, topic or environment; stop pushing until then | is kept |
 * | `RenewToken` | a new authorization and a new connection | is tried once more |
 * | `Reconnect` | a new connection | was not processed, is tried again |
 * | `RetryLater` | time | is tried again after a delay that grows |
 * | `Retry` | nobody | was not processed, is tried again |
 * | `RetryMayDuplicate` | the sender decides between at least once and at most once | may have been processed |
 * | `Discard` | nobody | is not wanted any more |
 * | `ReportBug` | the authors of the client | never works as it is |
 *
 * @category models
 * @since 0.1.0
 */
export const Action = Schema.Literals([
  "DropToken",
  "CheckToken",
  "DropChannel",
  "FixNotification",
  "FixConfiguration",
  "RenewToken",
  "Reconnect",
  "RetryLater",
  "Retry",
  "RetryMayDuplicate",
  "Discard",
  "ReportBug"
])

/**
 * What to do next; see the table at the schema.
 *
 * @category models
 * @since 0.1.0
 */
export type Action = typeof Action.Type
