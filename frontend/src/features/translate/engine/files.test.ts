import { zipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { openFileSource } from './files'

/** An array of int16 of length 0. */
const NO_VALUES = Uint8Array.from(
  "\x93NUMPY\x01\x00\x36\x00{'descr': '<i2', 'fortran_order': False, 'shape': (0,), }\n",
  (character) => character.charCodeAt(0),
)

describe('openFileSource', () => {
  it.each([
    ['a data set', 'file_is_data_set', zipSync({ 'landmarks_q.npy': NO_VALUES })],
    ['an archive without landmarks', 'file_unreadable', zipSync({ 'notes.txt': new Uint8Array() })],
  ])('names what is wrong with %s', async (_, problem, bytes) => {
    await expect(openFileSource(new Blob([bytes as BlobPart]))).rejects.toMatchObject({ problem })
  })
})
