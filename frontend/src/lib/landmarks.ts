/**
 * The 75 points of a frame, as in backend/app/ml/landmarks/layout.py: pose 0-32, left hand 33-53, right hand 54-74.
 *
 * A frame is a Float32Array of 225 values (x, y, z of point 0 first): x and y are fractions of the frame's width and height,
 * y downwards, z on the scale of x; a part that was not detected is NaN. Checked against Python by golden vectors.
 */
export const NUM_POSE = 33
export const NUM_HAND = 21
export const NUM_POINTS = 75
export const NUM_VALUES = 225

export const LEFT_HAND_START = 33
export const RIGHT_HAND_START = 54

export const NOSE = 0
export const LEFT_SHOULDER = 11
export const RIGHT_SHOULDER = 12
export const LEFT_WRIST = 15
export const RIGHT_WRIST = 16

export type Edge = readonly [number, number]

// prettier-ignore
export const POSE_EDGES: readonly Edge[] = [
  [11, 12], [11, 13], [13, 15], [12, 14], [14, 16], [11, 23], [12, 24], [23, 24],
  [23, 25], [25, 27], [24, 26], [26, 28], [0, 2], [0, 5], [2, 7], [5, 8], [9, 10],
]

// prettier-ignore
export const HAND_EDGES: readonly Edge[] = [
  [0, 1], [1, 2], [2, 3], [3, 4], [0, 5], [5, 6], [6, 7], [7, 8], [5, 9], [9, 10], [10, 11], [11, 12],
  [9, 13], [13, 14], [14, 15], [15, 16], [13, 17], [17, 18], [18, 19], [19, 20], [0, 17],
]

// prettier-ignore
const POSE_MIRROR_PAIRS: readonly Edge[] = [
  [1, 4], [2, 5], [3, 6], [7, 8], [9, 10], [11, 12], [13, 14], [15, 16], [17, 18], [19, 20], [21, 22],
  [23, 24], [25, 26], [27, 28], [29, 30], [31, 32],
]

function mirrorIndex(): readonly number[] {
  const index = Array.from({ length: NUM_POINTS }, (_, point) => {
    if (point < LEFT_HAND_START) return point
    return point < RIGHT_HAND_START ? point + NUM_HAND : point - NUM_HAND
  })
  for (const [left, right] of POSE_MIRROR_PAIRS) {
    index[left] = right
    index[right] = left
  }
  return index
}

/** The point that takes each point's place in a mirror; its own inverse. */
export const MIRROR_INDEX = mirrorIndex()

/** Mirrors one frame: swaps left and right points and replaces x by 1 - x. Returns a new array; twice is the identity. */
export function mirror(frame: Float32Array): Float32Array {
  const mirrored = new Float32Array(NUM_VALUES)
  MIRROR_INDEX.forEach((source, point) => {
    mirrored[point * 3] = 1 - valueAt(frame, source * 3)
    mirrored[point * 3 + 1] = valueAt(frame, source * 3 + 1)
    mirrored[point * 3 + 2] = valueAt(frame, source * 3 + 2)
  })
  return mirrored
}

/** Coordinates in units of the frame's height, so that distances mean the same in portrait and landscape: x and z times width/height. */
export function isotropic(frame: Float32Array, width: number, height: number): Float32Array {
  const aspect = width / height
  return frame.map((value, index) => (index % 3 === 1 ? value : value * aspect))
}

export interface Presence {
  pose: boolean
  left: boolean
  right: boolean
}

/** Which parts were detected: a part is present when its first point is not NaN. */
export function partPresence(frame: Float32Array): Presence {
  return {
    pose: !Number.isNaN(valueAt(frame, 0)),
    left: !Number.isNaN(valueAt(frame, LEFT_HAND_START * 3)),
    right: !Number.isNaN(valueAt(frame, RIGHT_HAND_START * 3)),
  }
}

/** A frame in which nothing was detected. */
export function emptyFrame(): Float32Array {
  return new Float32Array(NUM_VALUES).fill(Number.NaN)
}

/** Distance between the shoulders in frame heights, or null without a pose. Gives drawings a size that follows the person. */
export function shoulderWidth(frame: Float32Array, width: number, height: number): number | null {
  const points = isotropic(frame, width, height)
  const [left, right] = [LEFT_SHOULDER * 3, RIGHT_SHOULDER * 3]
  const distance = Math.hypot(
    valueAt(points, left) - valueAt(points, right),
    valueAt(points, left + 1) - valueAt(points, right + 1),
  )
  return Number.isFinite(distance) ? distance : null
}

function valueAt(frame: Float32Array, index: number): number {
  return frame[index] ?? Number.NaN
}
