/** Measured frames a second, over the last two seconds of arrival times. */
const WINDOW_MS = 2000
/** A machine so slow that fewer frames fall into the window is measured over these. */
const MIN_ARRIVALS = 3

export class FrameRate {
  private arrivals: number[] = []

  add(nowMs: number): void {
    this.arrivals.push(nowMs)
    while (this.arrivals.length > MIN_ARRIVALS && (this.arrivals[0] ?? nowMs) < nowMs - WINDOW_MS) this.arrivals.shift()
  }

  /** Null until there is a second to measure. */
  get fps(): number | null {
    const [first, last] = [this.arrivals[0], this.arrivals.at(-1)]
    if (first === undefined || last === undefined || last - first < WINDOW_MS / 2) return null
    return ((this.arrivals.length - 1) * 1000) / (last - first)
  }

  reset(): void {
    this.arrivals = []
  }
}
