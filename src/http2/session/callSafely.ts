/** Calls what a user gave. */

/**
 * Calls it with a value. What it throws is no business of the connection, on
 * which others wait for their answers: it goes on, and the exception surfaces
 * as an uncaught one, as that of a listener does.
 */
export const callSafely = <A>(callback: (value: A) => void, value: A): void => {
  try {
    callback(value)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
