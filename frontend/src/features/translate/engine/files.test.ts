import { zipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { openFileSource } from './files'

describe('openFileSource', () => {
  it.each([
    ['a data set', 'file_is_data_set', zipSync({ 'landmarks_q.npy': new Uint8Array() })],
    ['an archive without landmarks', 'file_unreadable', zipSync({ 'notes.txt': new Uint8Array() })],
  ])('names what is wrong with %s', async (_, problem, bytes) => {
    await expect(openFileSource(new Blob([bytes as BlobPart]))).rejects.toMatchObject({ problem })
  })
})
