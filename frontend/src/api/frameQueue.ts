/**
 * The newest frames of one session, oldest first: those that the server has reached, then those that it may not have yet.
 *
 * What was in flight when a connection broke is sent again. So are frames that the server had reached already when the session goes on in
 * another of its processes, which needs the last seconds to go on in the middle of a sign: `history` frames are kept for that. Of the
 * frames that the server has not reached there are at most `limit`; then the oldest goes, and if it had never been sent it counts as
 * dropped.
 */
export class FrameQueue {
  private frames: { sequence: number; data: ArrayBuffer }[] = []
  private numReached = 0
  private numSent = 0
  private lastSequence = 0
  private numDropped = 0

  constructor(
    private readonly limit: number,
    private readonly history: number,
  ) {}

  /** Frames lost because they were never sent and newer ones took their place. */
  get dropped(): number {
    return this.numDropped
  }

  get isFull(): boolean {
    return this.frames.length - this.numReached >= this.limit
  }

  /** Adds a frame encoded with the sequence number that it is given; numbers start at 1. */
  push(encode: (sequence: number) => ArrayBuffer): void {
    this.lastSequence += 1
    this.frames.push({ sequence: this.lastSequence, data: encode(this.lastSequence) })
    if (this.frames.length - this.numReached <= this.limit) return
    this.frames.splice(this.numReached, 1)
    if (this.numSent > this.numReached) this.numSent -= 1
    else this.numDropped += 1
  }

  /** The next unsent frame, which is then counted as sent; null when there is none. */
  next(): ArrayBuffer | null {
    const frame = this.frames[this.numSent]
    if (frame === undefined) return null
    this.numSent += 1
    return frame.data
  }

  /** The server has the frames up to `sequence`. */
  acknowledge(sequence: number): void {
    this.numReached = Math.max(this.numReached, this.indexAfter(sequence))
    this.numSent = Math.max(this.numSent, this.numReached)
    const numOld = this.numReached - this.history
    if (numOld <= 0) return
    this.frames.splice(0, numOld)
    this.numReached -= numOld
    this.numSent -= numOld
  }

  /** After a lost connection: everything that the server has not acknowledged is to be sent again. */
  rewind(): void {
    this.numSent = this.numReached
  }

  /** The session goes on after `sequence`, which may be before what was acknowledged. */
  resumeAfter(sequence: number): void {
    this.numReached = Math.max(this.numReached, this.indexAfter(sequence))
    this.numSent = this.indexAfter(sequence)
  }

  /** A new stream begins on the same session: what was left of the last one is of no use. Sequence numbers go on. */
  clear(): void {
    this.frames = []
    this.numReached = this.numSent = 0
  }

  /** Where the frames after `sequence` begin. */
  private indexAfter(sequence: number): number {
    const first = this.frames.findIndex((frame) => frame.sequence > sequence)
    return first === -1 ? this.frames.length : first
  }
}
