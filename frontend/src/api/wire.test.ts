import { describe, expect, it } from 'vitest'
import { emptyFrame } from '@/lib/landmarks'
import { FRAME_BYTES, encodeFrame } from './wire'

describe('encodeFrame', () => {
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
