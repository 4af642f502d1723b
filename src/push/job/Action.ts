/**
 * What to do about a push that was not accepted. All push services use the same actions.
 * A token is whatever names the target: a device token, a registration, a subscription.
 */
import * as Schema from "effect/Schema"

/**
 * What to do next.
 *
 * | action | who acts | the push |
 * |---|---|---|
 * | `DropToken` | the application deletes the token, unless it was registered again after the answer's timestamp | has ended |
 * | `CheckToken` | the application checks the token: it is malformed, or belongs to another environment, app or key | has ended |
 * | `DropChannel` | the application deletes the broadcast channel | has ended |
 * | `FixNotification` | a developer changes the notification | can't succeed unchanged |
 * | `FixConfiguration` | an operator changes key, certificate, account, topic or environment; stop pushing until then | is kept |
 * | `RenewAuthorization` | the client renews the authorization and the connection | is sent once more |
 * | `Reconnect` | the client opens a new connection | was not processed and is sent again |
 * | `RetryLater` | - | is sent again after a growing delay |
 * | `Retry` | - | was not processed and is sent again, after the delay if the service asked for one |
 * | `RetryMayDuplicate` | the sender chooses between at least once and at most once | may have been processed |
 * | `Discard` | - | has expired |
 * | `ReportBug` | the authors of the client | can't succeed unchanged |
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
  "RenewAuthorization",
  "Reconnect",
  "RetryLater",
  "Retry",
  "RetryMayDuplicate",
  "Discard",
  "ReportBug"
])

/**
 * The decoded {@link Action}.
 *
 * @category models
 * @since 0.1.0
 */
export type Action = typeof Action.Type
