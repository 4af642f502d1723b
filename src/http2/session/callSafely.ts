/**
 * Calls a user's callback. The connection goes on if it throws, because other
 * requests wait for their answers; the exception surfaces as an uncaught one, like
 * that of an event listener.
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
