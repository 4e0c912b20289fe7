import { describe, expect, it } from 'vitest'
import { FrameRate } from './frameRate'
import { meanLuminance } from './luminance'

describe('FrameRate', () => {
  it('says nothing before a second has been measured', () => {
    const rate = new FrameRate()
    for (let ms = 0; ms <= 900; ms += 100) rate.add(ms)

    expect(rate.fps).toBeNull()
  })

  it('measures the last two seconds', () => {
    const rate = new FrameRate()
    for (let ms = 0; ms <= 3000; ms += 100) rate.add(ms)
    for (let ms = 3125; ms <= 6000; ms += 125) rate.add(ms)

    expect(rate.fps).toBeCloseTo(8, 5)
  })

  it('measures a very slow machine too', () => {
    const rate = new FrameRate()
    for (let ms = 0; ms <= 9000; ms += 1500) rate.add(ms)

    expect(rate.fps).toBeCloseTo(2 / 3, 5)
  })
})

describe('meanLuminance', () => {
  it('weighs colours as the eye does', () => {
    expect(meanLuminance(new Uint8ClampedArray([255, 255, 255, 255, 0, 0, 0, 255]))).toBeCloseTo(0.5, 5)
    expect(meanLuminance(new Uint8ClampedArray([0, 255, 0, 255]))).toBeCloseTo(0.7152, 5)
  })
})
