/** The peer's settings. RFC 9113, section 6.5. */
import {
  Code,
  type ConnectionError,
  connectionError,
  initialWindow,
  maxFrameSize,
  maxWindow,
  Setting
} from "./frame.ts"

/** The peer's settings, with the defaults until its first SETTINGS arrive. */
export class Settings {
  headerTableSize = 4096
  /** The smallest table size of the last SETTINGS frame. It counts too: RFC 7541, section 4.2. */
  smallestTableSize = 4096
  maxConcurrentStreams = Infinity
  initialWindowSize: number = initialWindow
  maxFrameSize: number = maxFrameSize

  /** Takes the payload of a SETTINGS frame. */
  read(bytes: Buffer, start: number, end: number): ConnectionError | undefined {
    if ((end - start) % 6 !== 0) return connectionError(Code.frameSizeError, "SETTINGS with an invalid length")
    this.smallestTableSize = Infinity
    for (let at = start; at < end; at += 6) {
      const error = this.set(bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2))
      if (error !== undefined) return error
    }
    return undefined
  }

  private set(setting: number, value: number): ConnectionError | undefined {
    switch (setting) {
      case Setting.headerTableSize:
        this.headerTableSize = value
        this.smallestTableSize = Math.min(this.smallestTableSize, value)
        return undefined
      case Setting.enablePush:
        return value === 0
          ? undefined
          : connectionError(Code.protocolError, `ENABLE_PUSH ${value}; a server may only set 0`)
      case Setting.maxConcurrentStreams:
        this.maxConcurrentStreams = value
        return undefined
      case Setting.initialWindowSize:
        if (value > maxWindow) {
          return connectionError(Code.flowControlError, `INITIAL_WINDOW_SIZE ${value}; at most ${maxWindow} is allowed`)
        }
        this.initialWindowSize = value
        return undefined
      case Setting.maxFrameSize:
        if (value < maxFrameSize || value > 0xffffff) {
          return connectionError(
            Code.protocolError,
            `MAX_FRAME_SIZE ${value}; ${maxFrameSize} to ${0xffffff} are allowed`
          )
        }
        this.maxFrameSize = value
        return undefined
      default:
        return undefined
    }
  }
}
