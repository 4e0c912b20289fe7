/**
 * Whether a recording can be what it says: fractions of the frame and milliseconds. The same rules and limits as in
 * backend/app/ml/recordings/plausibility.py; golden clips hold both to each other.
 */
import { LEFT_SHOULDER, NUM_VALUES, RIGHT_SHOULDER } from '@/lib/landmarks'

export const LIMITS = {
  NARROWEST: 0.01,
  WIDEST: 2,
  FURTHEST: 20,
  SHORTEST_STEP_MS: 2,
  LONGEST_STEP_MS: 1000,
  LONGEST_MS: 3_600_000,
  ABSURD: 1000,
  FEW: 0.01,
} as const
const NOTHING = 1e-4
const CENTRED = 0.05

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2
}

/** Makes single points missing that lie where nobody can be, in place; many of them, or absurd ones, stay for `judgePoints` to tell. */
export function eraseImpossible(landmarks: Float32Array): void {
  const far: number[] = []
  let present = 0
  for (let point = 0; point < landmarks.length; point += 3) {
    const place = landmarks.subarray(point, point + 3)
    if (!place.some(Number.isNaN)) present += 1
    if (place.some((value) => Math.abs(value) > LIMITS.ABSURD)) return
    if (place.some((value) => Math.abs(value) > LIMITS.FURTHEST)) far.push(point)
  }
  if (far.length > LIMITS.FEW * present) return
  for (const point of far) landmarks.fill(NaN, point, point + 3)
}

/** What is wrong with coordinates `[T * 225]`, fractions of a frame of `width` x `height`; null when nothing is. */
export function judgePoints(landmarks: Float32Array, width: number, height: number): string | null {
  const apart: number[] = []
  const [centreX, centreY]: [number[], number[]] = [[], []]
  for (let frame = 0; frame < landmarks.length; frame += NUM_VALUES) {
    const at = (point: number, axis: number) => landmarks[frame + 3 * point + axis] ?? NaN
    const [leftX, leftY] = [at(LEFT_SHOULDER, 0), at(LEFT_SHOULDER, 1)]
    const [rightX, rightY] = [at(RIGHT_SHOULDER, 0), at(RIGHT_SHOULDER, 1)]
    if (Number.isNaN(leftX + leftY + rightX + rightY)) continue
    apart.push(Math.hypot(leftX - rightX, ((leftY - rightY) * height) / width))
    centreX.push((leftX + rightX) / 2)
    centreY.push((leftY + rightY) / 2)
  }
  if (apart.length > 0) {
    const shoulders = median(apart)
    const centre = Math.max(Math.abs(median(centreX)), Math.abs(median(centreY)))
    if (shoulders > LIMITS.WIDEST) {
      return `shoulders ${shoulders.toPrecision(4)} frame widths apart, the limit is ${LIMITS.WIDEST}; x and y are fractions of the frame's width and height: divide pixels by these`
    }
    if (shoulders > NOTHING && shoulders < LIMITS.NARROWEST) {
      return `shoulders ${shoulders.toPrecision(2)} frame widths apart, the limit is ${LIMITS.NARROWEST}; x and y are fractions of the frame's width and height`
    }
    if (shoulders > 1 - CENTRED && centre < CENTRED) {
      return `shoulders ${shoulders.toPrecision(4)} frame widths apart around (0, 0); x and y are fractions of the frame's width and height: undo a normalisation to shoulder width`
    }
  }
  const index = landmarks.findIndex((value) => Math.abs(value) > LIMITS.FURTHEST)
  if (index < 0) return null
  return `frame ${Math.floor(index / NUM_VALUES)} has a coordinate of ${landmarks[index]?.toPrecision(4)}, the limit is ${LIMITS.FURTHEST}; x and y are fractions of the frame's width and height`
}

/** What is wrong with capture times, which increase; null when nothing is. */
export function judgeTimes(timesMs: readonly number[]): string | null {
  const [first, last] = [timesMs[0], timesMs.at(-1)]
  if (timesMs.length < 2 || first === undefined || last === undefined) return null
  const stepMs = median(timesMs.slice(1).map((time, index) => time - (timesMs[index] ?? NaN)))
  const durationMs = last - first
  if (stepMs < LIMITS.SHORTEST_STEP_MS) {
    return `${timesMs.length} frames in ${durationMs.toPrecision(3)} ms; times_ms are milliseconds: multiply seconds by 1000`
  }
  if (stepMs > LIMITS.LONGEST_STEP_MS) {
    return `frames ${stepMs.toPrecision(6)} ms apart, the limit is ${LIMITS.LONGEST_STEP_MS}; times_ms are milliseconds: divide microseconds by 1000, nanoseconds by 1000000`
  }
  if (durationMs > LIMITS.LONGEST_MS) {
    return `${timesMs.length} frames in ${(durationMs / LIMITS.LONGEST_MS).toPrecision(3)} hours, the limit is 1; times_ms are milliseconds`
  }
  return null
}
