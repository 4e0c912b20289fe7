import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type Clip, ClipFileError, type ClipProblem, readClip } from './clip'
import { LIMITS } from './plausibility'

interface Taken {
  times_ms: number[]
  width: number
  height: number
  points: { frame: number; point: number; at: (number | null)[] }[]
}

type Row = { taken: Taken } | { problem: ClipProblem; says: string }

const GOLDEN = '../backend/tests/golden'
const rows = Object.entries(JSON.parse(readFileSync(`${GOLDEN}/clips.json`, 'utf8')) as Record<string, Row>)
const open = (name: string): Clip => readClip(new Uint8Array(readFileSync(`${GOLDEN}/clips/${name}.npz`)))

function refusal(name: string): ClipFileError {
  try {
    open(name)
  } catch (error) {
    if (error instanceof ClipFileError) return error
    throw error
  }
  throw new Error(`${name} was taken`)
}

describe('clip files, as Python reads them', () => {
  it.each(rows.flatMap(([name, row]) => ('taken' in row ? [{ name, taken: row.taken }] : [])))(
    'takes $name',
    ({ name, taken }) => {
      const clip = open(name)

      expect([clip.timesMs, clip.width, clip.height]).toEqual([taken.times_ms, taken.width, taken.height])
      for (const { frame, point, at } of taken.points) {
        const found = Array.from(clip.frames[frame]?.subarray(3 * point, 3 * point + 3) ?? [])
        expect(found.map((value) => (Number.isNaN(value) ? null : Math.fround(value)))).toEqual(
          at.map((value) => (value === null ? null : Math.fround(value))),
        )
      }
    },
  )

  it.each(rows.flatMap(([name, row]) => ('problem' in row ? [{ name, row }] : [])))(
    'refuses $name',
    ({ name, row }) => {
      const error = refusal(name)

      expect(error.problem).toBe(row.problem)
      expect(error.message).toContain(row.says)
    },
  )

  it('holds coordinates and times to the same limits', () => {
    const python = readFileSync('../backend/app/ml/recordings/plausibility.py', 'utf8')
    const limits = Object.fromEntries(
      [...python.matchAll(/^([A-Z]\w+): Final = ([\d._]+)$/gm)].map(([, name, value]) => [
        name,
        Number(value?.replaceAll('_', '')),
      ]),
    )

    expect(limits).toMatchObject(LIMITS)
  })
})
