import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  HAND_EDGES,
  LEFT_HAND_START,
  MIRROR_INDEX,
  NUM_VALUES,
  POSE_EDGES,
  RIGHT_HAND_START,
  emptyFrame,
  isotropic,
  mirror,
  partPresence,
  shoulderWidth,
  type Edge,
} from './landmarks'

type Points = (number | null)[][]

interface Golden {
  layout: { mirror_index: number[]; edges: Edge[] }
  cases: {
    name: string
    width: number
    height: number
    landmarks: Points
    mirrored: Points
    isotropic: Points
    presence: boolean[]
  }[]
}

const golden = JSON.parse(readFileSync('../backend/tests/golden/landmarks.json', 'utf8')) as Golden

function toFrame(points: Points): Float32Array {
  return Float32Array.from(points.flat(), (value) => value ?? Number.NaN)
}

function expectClose(actual: Float32Array, expected: Float32Array): void {
  expect(actual).toHaveLength(expected.length)
  actual.forEach((value, index) => {
    const wanted = expected[index] ?? Number.NaN
    if (Number.isNaN(wanted)) expect(value).toBeNaN()
    else expect(value).toBeCloseTo(wanted, 5)
  })
}

function handEdges(start: number): Edge[] {
  return HAND_EDGES.map(([from, to]) => [from + start, to + start])
}

describe('the layout agrees with Python', () => {
  it('in its mirror pairs and its bones', () => {
    expect(MIRROR_INDEX).toEqual(golden.layout.mirror_index)
    expect([...POSE_EDGES, ...handEdges(LEFT_HAND_START), ...handEdges(RIGHT_HAND_START)]).toEqual(golden.layout.edges)
  })

  it.each(golden.cases)('on $name', ({ width, height, landmarks, mirrored, isotropic: scaled, presence }) => {
    const frame = toFrame(landmarks)

    const { pose, left, right } = partPresence(frame)

    expectClose(mirror(frame), toFrame(mirrored))
    expectClose(isotropic(frame, width, height), toFrame(scaled))
    expect([pose, left, right]).toEqual(presence)
  })
})

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
