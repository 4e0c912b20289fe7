import { describe, expect, it } from 'vitest'
import { CaptureClock } from './captureClock'

describe('CaptureClock', () => {
  it('keeps the camera’s even steps although frames arrive with jitter', () => {
    const clock = new CaptureClock()
    const delays = [0, 12, 3, 25, 7, 18]

    const times = delays.map((delay, index) => clock.at(index * 40, 1000 + index * 40 + delay))

    times.forEach((time, index) => expect(time).toBeCloseTo(1000 + index * 40, 0))
  })

  it('always moves on, also when a smaller delay shows that the clock was ahead', () => {
    const clock = new CaptureClock()

    const times = [clock.at(0, 1100), clock.at(40, 1040), clock.at(80, 1080)]

    expect(times[1]).toBeGreaterThan(times[0] ?? Infinity)
    expect(times[2]).toBeGreaterThan(times[1] ?? Infinity)
  })

  it('counts on the page’s clock, not on the worker’s', () => {
    expect(new CaptureClock(250).at(0, 1000)).toBe(1250)
  })

  it('follows a camera whose clock runs slower', () => {
    const clock = new CaptureClock()
    let last = 0
    for (let second = 0; second <= 3600; second += 1) last = clock.at(second * 1000 * (1 - 5e-5), second * 1000)

    expect(3_600_000 - last).toBeLessThan(1)
  })
})
