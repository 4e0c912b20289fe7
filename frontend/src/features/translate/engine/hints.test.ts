import { describe, expect, it } from 'vitest'
import { LEFT_SHOULDER, RIGHT_HAND_START, RIGHT_SHOULDER, RIGHT_WRIST, emptyFrame } from '@/lib/landmarks'
import type { Hint } from '../model'
import { HintTracker } from './hints'

function person(): Float32Array {
  const points = emptyFrame()
  points.fill(0.5, 0, 33 * 3)
  points.set([0.65, 0.5, 0], LEFT_SHOULDER * 3)
  points.set([0.35, 0.5, 0], RIGHT_SHOULDER * 3)
  return points
}

function withHand(x: number, y: number): Float32Array {
  const points = person()
  for (let point = RIGHT_HAND_START; point < 75; point += 1) points.set([x, y, 0], point * 3)
  return points
}

/** The hints after `seconds` of the same frame, at 30 frames a second. */
function after(seconds: number, points: Float32Array, luminance: number | null = 0.5): Hint[] {
  const tracker = new HintTracker()
  tracker.step({ timeMs: 0, points: person(), luminance: 0.5 })
  let hints: Hint[] = []
  for (let timeMs = 33; timeMs <= seconds * 1000; timeMs += 33) hints = tracker.step({ timeMs, points, luminance })
  return hints
}

describe('HintTracker', () => {
  it('has nothing to say about a person who is well in view', () => {
    expect(after(5, withHand(0.4, 0.6))).toEqual([])
  })

  it('asks for the shoulders when nobody, or only half a person, is there', () => {
    const half = person()
    half.set([1.1, 0.5, 0], LEFT_SHOULDER * 3)

    expect(after(2, emptyFrame())).toEqual(['shoulders_out'])
    expect(after(2, half)).toEqual(['shoulders_out'])
  })

  it('asks for a hand that the edge cuts, or that has left through the side', () => {
    const gone = person()
    gone.set([-0.1, 0.5, 0], RIGHT_WRIST * 3)

    expect(after(2, withHand(1.02, 0.5))).toEqual(['hands_out'])
    expect(after(2, gone)).toEqual(['hands_out'])
  })

  it('leaves hands in peace that rest below the picture', () => {
    const resting = person()
    resting.set([0.4, 1.3, 0], RIGHT_WRIST * 3)

    expect(after(5, resting)).toEqual([])
  })

  it('says that it is dark, and not again until it is clearly lighter', () => {
    expect(after(2, person(), 0.1)).toEqual(['low_light'])
    expect(after(2, person(), 0.18)).toEqual([])
  })

  it('does not flicker with what lasts only a moment', () => {
    expect(after(0.5, emptyFrame())).toEqual([])
  })

  it('takes a hint back a while after its cause has gone', () => {
    const tracker = new HintTracker()
    tracker.step({ timeMs: 0, points: person(), luminance: null })
    tracker.step({ timeMs: 900, points: emptyFrame(), luminance: null })

    expect(tracker.step({ timeMs: 1000, points: person(), luminance: null })).toEqual(['shoulders_out'])
    expect(tracker.step({ timeMs: 2300, points: person(), luminance: null })).toEqual([])
  })
})
