/**
 * Reads a landmark clip `.npz`: `landmarks` [T, 75, 3], `times_ms` [T], `width`, `height`, `mirrored`, optional `label`, `signer`.
 *
 * A .npz is a zip of .npy arrays. Mirrored clips are un-mirrored here, so nobody after this has to care.
 */
import { unzipSync } from 'fflate'
import { NUM_POINTS, NUM_VALUES, mirror } from '@/lib/landmarks'

export interface Clip {
  /** One Float32Array of 225 values a frame. */
  frames: Float32Array[]
  timesMs: number[]
  width: number
  height: number
}

/** The file is not a landmark clip; the message says what is wrong with it. */
export class ClipFileError extends Error {
  override name = 'ClipFileError'
}

/** The file holds many clips where one is needed. */
export class DataSetFileError extends ClipFileError {
  override name = 'DataSetFileError'
}

interface NpyArray {
  shape: number[]
  values: ArrayLike<number>
}

const READERS: Readonly<Record<string, { bytes: number; read: (view: DataView, offset: number) => number }>> = {
  f4: { bytes: 4, read: (view, offset) => view.getFloat32(offset, true) },
  f8: { bytes: 8, read: (view, offset) => view.getFloat64(offset, true) },
  i2: { bytes: 2, read: (view, offset) => view.getInt16(offset, true) },
  i4: { bytes: 4, read: (view, offset) => view.getInt32(offset, true) },
  i8: { bytes: 8, read: (view, offset) => Number(view.getBigInt64(offset, true)) },
  u1: { bytes: 1, read: (view, offset) => view.getUint8(offset) },
  b1: { bytes: 1, read: (view, offset) => view.getUint8(offset) },
}

/** Parses one numeric .npy array, format versions 1 to 3, little-endian. */
export function parseNpy(name: string, file: Uint8Array): NpyArray {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  if (file.length < 12 || view.getUint32(0) !== 0x934e554d) throw new ClipFileError(`${name} is not a NumPy array`)
  const isVersion1 = file[6] === 1
  const start = isVersion1 ? 10 : 12
  const end = start + (isVersion1 ? view.getUint16(8, true) : view.getUint32(8, true))
  const header = new TextDecoder().decode(file.subarray(start, end))
  const dtype = /'descr':\s*'[<|]([a-z]\d+)'/.exec(header)?.[1]
  const reader = dtype === undefined ? undefined : READERS[dtype]
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1]
  if (reader === undefined || shape === undefined || header.includes("'fortran_order': True")) {
    throw new ClipFileError(`${name} has an unknown layout: ${header.trim()}`)
  }
  const dimensions = shape
    .split(',')
    .filter((part) => part.trim() !== '')
    .map(Number)
  const size = dimensions.reduce((product, dimension) => product * dimension, 1)
  if (file.length < end + size * reader.bytes) throw new ClipFileError(`${name} is cut short`)
  const values = Float64Array.from({ length: size }, (_, index) => reader.read(view, end + index * reader.bytes))
  return { shape: dimensions, values }
}

/**
 * @throws ClipFileError when the bytes are no landmark clip; DataSetFileError when they are many clips
 */
export function readClip(bytes: Uint8Array): Clip {
  const arrays = unzip(bytes)
  if (arrays['landmarks_q.npy'] !== undefined) {
    throw new DataSetFileError('"landmarks_q" holds many clips')
  }
  const array = (key: string): NpyArray | null => {
    const file = arrays[`${key}.npy`]
    return file === undefined ? null : parseNpy(key, file)
  }
  const scalar = (key: string, fallback: number): number => array(key)?.values[0] ?? fallback

  const [landmarks, times] = [array('landmarks'), array('times_ms')]
  if (landmarks === null || times === null)
    throw new ClipFileError('a clip needs the arrays "landmarks" and "times_ms"')
  const [numFrames = 0, numPoints, numAxes] = landmarks.shape
  if (landmarks.shape.length !== 3 || numPoints !== NUM_POINTS || numAxes !== 3) {
    throw new ClipFileError(`"landmarks" has shape [${landmarks.shape.join(', ')}], expected [T, ${NUM_POINTS}, 3]`)
  }
  if (times.values.length !== numFrames) {
    throw new ClipFileError(`"times_ms" has ${times.values.length} values for ${numFrames} frames`)
  }
  const isMirrored = scalar('mirrored', 0) !== 0
  const all = Float32Array.from(landmarks.values)
  const frames = Array.from({ length: numFrames }, (_, index) => {
    const frame = all.subarray(index * NUM_VALUES, (index + 1) * NUM_VALUES)
    return isMirrored ? mirror(frame) : frame
  })
  return { frames, timesMs: Array.from(times.values), width: scalar('width', 640), height: scalar('height', 480) }
}

function unzip(bytes: Uint8Array): Record<string, Uint8Array> {
  try {
    return unzipSync(bytes)
  } catch (error) {
    throw new ClipFileError('this is not a .npz file', { cause: error })
  }
}
