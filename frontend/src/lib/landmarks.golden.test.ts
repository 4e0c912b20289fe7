import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { MIRROR_INDEX, isotropic, mirror, partPresence } from './landmarks'

interface Golden {
  layout: { mirror_index: number[] }
  cases: {
    name: string
    width: number
    height: number
    landmarks: (number | null)[][]
    mirrored: (number | null)[][]
    isotropic: (number | null)[][]
    presence: [boolean, boolean, boolean]
  }[]
}

const golden = JSON.parse(readFileSync('../backend/tests/golden/landmarks.json', 'utf8')) as Golden

function frame(points: (number | null)[][]): Float32Array {
  return Float32Array.from(points.flat(), (value) => value ?? Number.NaN)
}

function expectClose(actual: Float32Array, expected: Float32Array): void {
  expect(actual).toHaveLength(expected.length)
  const apart = actual.map((value, index) => Math.abs(value - (expected[index] ?? Number.NaN)))
  expect(Array.from(actual, Number.isNaN)).toEqual(Array.from(expected, Number.isNaN))
  expect(Math.max(0, ...apart.filter((distance) => !Number.isNaN(distance)))).toBeLessThan(1e-6)
}

describe('landmarks agree with Python', () => {
  it('in the mirror index', () => {
    expect(MIRROR_INDEX).toEqual(golden.layout.mirror_index)
  })

  it.each(golden.cases)('for $name', (one) => {
    const landmarks = frame(one.landmarks)

    expectClose(mirror(landmarks), frame(one.mirrored))
    expectClose(isotropic(landmarks, one.width, one.height), frame(one.isotropic))
    expect(Object.values(partPresence(landmarks))).toEqual(one.presence)
  })
})
