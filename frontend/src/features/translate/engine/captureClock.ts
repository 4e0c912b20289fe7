/**
 * Turns a camera's own timestamps into times on the page's clock (`performance.now()`).
 *
 * A camera counts from anywhere, but evenly; the moment at which a frame reaches us has jitter, always late. The smallest delay seen
 * so far is therefore the best guess of the offset. It is let go slowly, because the two clocks drift apart.
 */
const DRIFT = 1e-4

export class CaptureClock {
  private offsetMs: number | null = null
  private lastMs = -Infinity

  /** @param pageOffsetMs what to add to this context's `performance.now()` to get the page's */
  constructor(private readonly pageOffsetMs = 0) {}

  /** @returns the capture time on the page's clock; always above the last one */
  at(cameraMs: number, nowMs: number): number {
    const offsetMs = nowMs + this.pageOffsetMs - cameraMs
    const drifted =
      this.offsetMs === null ? offsetMs : this.offsetMs + Math.max(0, cameraMs + this.offsetMs - this.lastMs) * DRIFT
    this.offsetMs = Math.min(drifted, offsetMs)
    this.lastMs = Math.max(this.lastMs + 0.001, cameraMs + this.offsetMs)
    return this.lastMs
  }

  reset(): void {
    this.offsetMs = null
  }
}
