import { describe, expect, it } from 'vitest'
import { MIRROR_INDEX, NUM_VALUES, emptyFrame, isotropic, mirror, partPresence, shoulderWidth } from './landmarks'

function someFrame(): Float32Array {
  return Float32Array.from({ length: NUM_VALUES }, (_, index) => ((index * 37) % 101) / 128)
}

describe('landmarks', () => {
  it('mirrored twice is the frame itself', () => {
    const frame = someFrame()

    expect(mirror(mirror(frame))).toEqual(frame)
  })

  it('a mirror swaps the sides and flips x', () => {
    const frame = emptyFrame()
    frame.set([0.25, 0.5, 0.125], 33 * 3)

    const mirrored = mirror(frame)

    expect(Array.from(mirrored.subarray(54 * 3, 54 * 3 + 3))).toEqual([0.75, 0.5, 0.125])
    expect(partPresence(mirrored)).toEqual({ pose: false, left: false, right: true })
  })

  it('the mirror index is its own inverse', () => {
    expect(MIRROR_INDEX.map((point) => MIRROR_INDEX[point])).toEqual(Array.from({ length: 75 }, (_, point) => point))
  })

  it('isotropic coordinates are in frame heights', () => {
    const points = isotropic(new Float32Array([0.5, 0.5, 0.25]), 640, 320)

    expect(Array.from(points)).toEqual([1, 0.5, 0.5])
  })

  it('the shoulders are as wide in portrait as in landscape', () => {
    const frame = emptyFrame()
    frame.set([0.75, 0.5, 0], 11 * 3)
    frame.set([0.25, 0.5, 0], 12 * 3)

    expect(shoulderWidth(frame, 400, 400)).toBe(0.5)
    expect(shoulderWidth(frame, 800, 400)).toBe(1)
    expect(shoulderWidth(emptyFrame(), 400, 400)).toBeNull()
  })
})
