import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { emptyFrame } from '@/lib/landmarks'
import { FRAME_BYTES, encodeFrame } from './wire'

interface Golden {
  cases: {
    name: string
    dtype: 'float32' | 'float16'
    sequence: number
    time_ms: number
    landmarks: (number | null)[][]
    base64: string
  }[]
}

const golden = JSON.parse(readFileSync('../backend/tests/golden/wire_frames.json', 'utf8')) as Golden

/** NaN has many bit patterns, so bytes of missing parts are compared as numbers. */
function decode(buffer: ArrayBuffer): { header: number[]; values: Float32Array } {
  return { header: [...new Uint8Array(buffer, 0, 20)], values: new Float32Array(buffer.slice(20)) }
}

describe('encodeFrame', () => {
  // The page always sends float32.
  it.each(golden.cases.filter(({ dtype }) => dtype === 'float32'))(
    'agrees with Python: $name',
    ({ sequence, time_ms: timeMs, landmarks, base64 }) => {
      const points = Float32Array.from(landmarks.flat(), (value) => value ?? Number.NaN)

      const encoded = encodeFrame({ sequence, timeMs, points })

      const expected = Uint8Array.from(Buffer.from(base64, 'base64')).buffer
      expect(decode(encoded)).toEqual(decode(expected))
    },
  )

  it('writes the header as the protocol says', () => {
    const points = emptyFrame()
    points.fill(0.5, 54 * 3)

    const view = new DataView(encodeFrame({ sequence: 7, timeMs: 1234.5, points }))

    expect(view.byteLength).toBe(FRAME_BYTES)
    expect(view.byteLength).toBe(920)
    expect(String.fromCharCode(view.getUint8(0), view.getUint8(1))).toBe('SF')
    expect([view.getUint8(2), view.getUint8(3)]).toEqual([1, 4])
    expect(view.getUint32(4, true)).toBe(7)
    expect(view.getFloat64(8, true)).toBe(1234.5)
    expect([view.getUint16(16, true), view.getUint16(18, true)]).toEqual([75, 0])
    expect(view.getFloat32(20, true)).toBeNaN()
    expect(view.getFloat32(20 + 54 * 12, true)).toBe(0.5)
  })

  it('refuses anything but 75 points', () => {
    expect(() => encodeFrame({ sequence: 1, timeMs: 0, points: new Float32Array(222) })).toThrow(RangeError)
  })
})
