import { zipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { ClipFileError, readClip } from './clip'

function npy(descr: string, shape: number[], bytes: ArrayBuffer, fortran = false): Uint8Array {
  const shapeText = shape.length === 1 ? `${shape[0]},` : shape.join(', ')
  const text = `{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': (${shapeText}), }`
  const header = new TextEncoder().encode(`${text.padEnd(117)}\n`)
  const file = new Uint8Array(10 + header.length + bytes.byteLength)
  file.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length % 256, Math.floor(header.length / 256)])
  file.set(header, 10)
  file.set(new Uint8Array(bytes), 10 + header.length)
  return file
}

function landmarks(numFrames: number): Float32Array {
  return Float32Array.from({ length: numFrames * 225 }, (_, index) => (index % 225) / 256)
}

function clip(fields: Record<string, Uint8Array> = {}): Uint8Array {
  return zipSync({
    'landmarks.npy': npy('<f4', [2, 75, 3], landmarks(2).buffer as ArrayBuffer),
    'times_ms.npy': npy('<f8', [2], new Float64Array([0, 33.5]).buffer),
    'width.npy': npy('<i8', [], new BigInt64Array([540n]).buffer),
    'height.npy': npy('<i8', [], new BigInt64Array([720n]).buffer),
    'mirrored.npy': npy('|b1', [], new Uint8Array([0]).buffer),
    'label.npy': npy('<U5', [], new ArrayBuffer(20)),
    ...fields,
  })
}

describe('readClip', () => {
  it('reads frames, times and size', () => {
    const read = readClip(clip())

    expect([read.width, read.height, read.timesMs]).toEqual([540, 720, [0, 33.5]])
    expect(read.frames).toHaveLength(2)
    expect(read.frames[1]).toEqual(landmarks(1))
  })

  it('un-mirrors a mirrored clip', () => {
    const read = readClip(clip({ 'mirrored.npy': npy('|b1', [], new Uint8Array([1]).buffer) }))

    expect(read.frames[0]?.[33 * 3]).toBe(1 - (54 * 3) / 256)
  })

  it.each([
    ['is not a .npz file', new Uint8Array([1, 2, 3]), 'not a .npz'],
    ['lacks an array', zipSync({ 'times_ms.npy': npy('<f8', [0], new ArrayBuffer(0)) }), 'landmarks'],
    [
      'has another number of points',
      clip({ 'landmarks.npy': npy('<f4', [2, 33, 3], new ArrayBuffer(800)) }),
      '[2, 33, 3]',
    ],
    [
      'has times for other frames',
      clip({ 'times_ms.npy': npy('<f8', [1], new ArrayBuffer(8)) }),
      'expected [2], one a frame',
    ],
    ['is cut short', clip({ 'times_ms.npy': npy('<f8', [2], new ArrayBuffer(8)) }), 'cut short'],
  ])('says what is wrong when the file %s', (_, bytes, message) => {
    expect(() => readClip(bytes)).toThrow(ClipFileError)
    expect(() => readClip(bytes)).toThrow(message)
  })

  it('tells a data set from a damaged clip', () => {
    const bytes = clip({ 'landmarks_q.npy': npy('<i2', [1], new ArrayBuffer(2)) })

    expect(() => readClip(bytes)).toThrow(expect.objectContaining({ problem: 'data_set' }))
  })
})
