/**
 * The frames of one session that the server may not have yet, oldest first, in at most `limit` places.
 *
 * A frame stays until the server says that it has reached it (`acknowledge`), so that what was in flight when a connection broke is
 * sent again. When the queue is full the oldest frame goes; if it had never been sent it counts as dropped.
 */
export class FrameQueue {
  private frames: { sequence: number; data: ArrayBuffer }[] = []
  private numSent = 0
  private lastSequence = 0
  private numDropped = 0

  constructor(private readonly limit: number) {}

  /** Frames lost because they were never sent and newer ones took their place. */
  get dropped(): number {
    return this.numDropped
  }

  get isFull(): boolean {
    return this.frames.length >= this.limit
  }

  /** Adds a frame encoded with the sequence number that it is given; numbers start at 1. */
  push(encode: (sequence: number) => ArrayBuffer): void {
    this.lastSequence += 1
    this.frames.push({ sequence: this.lastSequence, data: encode(this.lastSequence) })
    if (this.frames.length <= this.limit) return
    this.frames.shift()
    if (this.numSent > 0) this.numSent -= 1
    else this.numDropped += 1
  }

  /** The next unsent frame, which is then counted as sent; null when there is none. */
  next(): ArrayBuffer | null {
    const frame = this.frames[this.numSent]
    if (frame === undefined) return null
    this.numSent += 1
    return frame.data
  }

  /** Forgets the frames up to `sequence`: the server has them. */
  acknowledge(sequence: number): void {
    const firstKept = this.frames.findIndex((frame) => frame.sequence > sequence)
    const numKnown = firstKept === -1 ? this.frames.length : firstKept
    this.frames.splice(0, numKnown)
    this.numSent = Math.max(0, this.numSent - numKnown)
  }

  /** After a lost connection: everything that the server has not acknowledged is to be sent again. */
  rewind(): void {
    this.numSent = 0
  }

  /** A new stream begins on the same session: what was left of the last one is of no use. Sequence numbers go on. */
  clear(): void {
    this.frames = []
    this.numSent = 0
  }
}
