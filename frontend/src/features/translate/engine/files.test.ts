import { zipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { openFileSource } from './files'

/** An array of int16 of length 0. */
const NO_VALUES = Uint8Array.from(
  "\x93NUMPY\x01\x00\x36\x00{'descr': '<i2', 'fortran_order': False, 'shape': (0,), }\n",
  (character) => character.charCodeAt(0),
)

function npy(descr: string, shape: string, values: ArrayBuffer): Uint8Array {
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`.padEnd(117)
  const start = Uint8Array.from(`\x93NUMPY\x01\x00\x76\x00${header}\n`, (character) => character.charCodeAt(0))
  return new Uint8Array([...start, ...new Uint8Array(values)])
}

function clipOf(size: { width: number; height: number }): Blob {
  const file = zipSync({
    'landmarks.npy': npy('<f4', '1, 75, 3', new Float32Array(225).fill(0.5).buffer),
    'width.npy': npy('<i4', '', new Int32Array([size.width]).buffer),
    'height.npy': npy('<i4', '', new Int32Array([size.height]).buffer),
  })
  return new Blob([file as BlobPart])
}

describe('openFileSource', () => {
  it.each([
    ['a data set', 'file_is_data_set', zipSync({ 'landmarks_q.npy': NO_VALUES })],
    ['an archive without landmarks', 'file_clip_unreadable', zipSync({ 'notes.txt': new Uint8Array() })],
  ])('names what is wrong with %s', async (_, problem, bytes) => {
    await expect(openFileSource(new Blob([bytes as BlobPart]))).rejects.toMatchObject({ problem })
  })

  it.each([
    ['1 x 1', { width: 1, height: 1 }, { width: 16, height: 16 }],
    ['640 x 480', { width: 640, height: 480 }, { width: 640, height: 480 }],
    ['4 x 3', { width: 4, height: 3 }, { width: 21, height: 16 }],
    ['32768 x 16384', { width: 32_768, height: 16_384 }, { width: 16_384, height: 8192 }],
  ])('gives a clip that says %s a size that a stream may have', async (_, size, expected) => {
    await expect(openFileSource(clipOf(size))).resolves.toMatchObject(expected)
  })

  it('refuses a size of which a stream can have no shape', async () => {
    await expect(openFileSource(clipOf({ width: 1, height: 100_000 }))).rejects.toMatchObject({
      problem: 'file_clip_unreadable',
    })
  })
})
