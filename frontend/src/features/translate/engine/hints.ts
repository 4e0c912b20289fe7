/**
 * What keeps the recogniser from seeing the signer well: a pure step over frames, on capture time.
 *
 *     shoulders_out  no pose, or a shoulder outside the picture
 *     hands_out      a hand is cut by the picture's edge, or has left through its side or top; hands that rest below the
 *                    picture are no fault
 *     low_light      the picture is dark
 *
 * A hint comes when its cause has lasted for `ON_MS`, and goes when it has been away for `OFF_MS`, so that none flickers.
 */
import {
  LEFT_HAND_START,
  LEFT_SHOULDER,
  LEFT_WRIST,
  NUM_HAND,
  RIGHT_HAND_START,
  RIGHT_SHOULDER,
  RIGHT_WRIST,
} from '@/lib/landmarks'
import type { Hint } from '../model'

export interface HintInput {
  timeMs: number
  points: Float32Array
  /** Mean brightness in [0, 1] when it was measured with this frame. */
  luminance: number | null
}

const ON_MS = 800
const OFF_MS = 1200
/** A quarter of a hand outside the picture is where detection starts to fail (ours). */
const MIN_POINTS_OUT = 5
/** Dark enough that webcams turn to noise; between the two values the hint stays as it is (ours). */
const DARK = 0.16
const LIGHT_ENOUGH = 0.2

const HINTS: readonly Hint[] = ['shoulders_out', 'hands_out', 'low_light']

export class HintTracker {
  private isDark = false
  private shown = new Set<Hint>()
  private lastAgreedMs = new Map<Hint, number>()

  /** @returns the hints to show after this frame */
  step({ timeMs, points, luminance }: HintInput): Hint[] {
    if (luminance !== null) this.isDark = luminance < (this.isDark ? LIGHT_ENOUGH : DARK)
    const causes: Record<Hint, boolean> = {
      shoulders_out: shouldersOut(points),
      hands_out: handOut(points, LEFT_HAND_START, LEFT_WRIST) || handOut(points, RIGHT_HAND_START, RIGHT_WRIST),
      low_light: this.isDark,
    }
    for (const hint of HINTS) this.settle(hint, causes[hint], timeMs)
    return HINTS.filter((hint) => this.shown.has(hint))
  }

  private settle(hint: Hint, isCaused: boolean, timeMs: number): void {
    const isShown = this.shown.has(hint)
    const agreedMs = this.lastAgreedMs.get(hint)
    if (isCaused === isShown || agreedMs === undefined) {
      this.lastAgreedMs.set(hint, timeMs)
      return
    }
    if (timeMs - agreedMs < (isCaused ? ON_MS : OFF_MS)) return
    if (isCaused) this.shown.add(hint)
    else this.shown.delete(hint)
    this.lastAgreedMs.set(hint, timeMs)
  }
}

function at(points: Float32Array, index: number): [number, number] {
  return [points[index * 3] ?? Number.NaN, points[index * 3 + 1] ?? Number.NaN]
}

function isInside([x, y]: [number, number]): boolean {
  return x >= 0 && x <= 1 && y >= 0 && y <= 1
}

function shouldersOut(points: Float32Array): boolean {
  return !isInside(at(points, LEFT_SHOULDER)) || !isInside(at(points, RIGHT_SHOULDER))
}

function handOut(points: Float32Array, start: number, wrist: number): boolean {
  if (!Number.isNaN(at(points, start)[0])) {
    let numOut = 0
    for (let index = start; index < start + NUM_HAND; index += 1) if (!isInside(at(points, index))) numOut += 1
    return numOut >= MIN_POINTS_OUT
  }
  const [x, y] = at(points, wrist)
  return y < 1 && (x < 0 || x > 1 || y < 0)
}
