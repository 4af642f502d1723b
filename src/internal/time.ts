/** Shows times that others wrote. Pure. */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"

/** A time in ISO 8601. A publisher may give one that is out of the calendar's range; it is shown as the number. */
export const formatTime = (millis: number): string =>
  Option.match(DateTime.make(millis), { onNone: () => `${millis}`, onSome: DateTime.formatIso })
