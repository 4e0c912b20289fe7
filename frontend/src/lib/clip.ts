/**
 * Reads a landmark clip `.npz` as backend/app/ml/recordings/clips.py does, and refuses what that refuses: backend/tests/golden/clips
 * holds files that both test suites read. docs/data.md describes the layout.
 *
 * A .npz is a zip of .npy arrays. Mirrored clips are un-mirrored here, so nobody after this has to care.
 */
import { NUM_POINTS, NUM_VALUES, mirror } from '@/lib/landmarks'
import { NpyError, type NpyHeader, isNpy, readNpyHeader, readNpyValues, sizeOf } from '@/lib/npy'
import { eraseImpossible, judgePoints, judgeTimes } from '@/lib/plausibility'
import { ZipError, readZip } from '@/lib/zip'

export interface Clip {
  /** One Float32Array of 225 values a frame. */
  frames: Float32Array[]
  timesMs: number[]
  width: number
  height: number
}

/** What is wrong with a file: its capture times, its positions, that it holds many clips, or anything else. */
export type ClipProblem = 'times' | 'positions' | 'data_set' | 'unreadable'

/** The file is not a landmark clip that can be translated; the message says what is wrong with it. */
export class ClipFileError extends Error {
  override name = 'ClipFileError'

  constructor(
    readonly problem: ClipProblem,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** What a file does not say. */
const DEFAULT_FRAME_MS = 50
const DEFAULT_SIZE = { width: 640, height: 480 }
/** Of the numbers that are one for the whole clip. */
const MOST = 2 ** 31 - 1
const TEXTS = ['label', 'signer', 'session', 'quality', 'clip_id', 'language']
/** Kinds of numbers: fractions, signed and unsigned whole numbers, truth values. */
const FRACTIONS = 'f'
const NUMBERS = 'fiu'
const NUMBERS_AND_FLAGS = 'fiub'

/** The arrays of one file, each with its header. */
class Archive {
  private readonly arrays = new Map<string, { file: Uint8Array; header: NpyHeader }>()

  constructor(bytes: Uint8Array) {
    for (const [name, file] of unzip(bytes)) {
      if (!name.endsWith('.npy') && !isNpy(file)) continue
      const key = name.replace(/\.npy$/, '')
      this.arrays.set(key, { file, header: named(key, () => readNpyHeader(file)) })
    }
  }

  has(key: string): boolean {
    return this.arrays.has(key)
  }

  shape(key: string): number[] | null {
    return this.arrays.get(key)?.header.shape ?? null
  }

  numbers(key: string, kinds: string): { shape: number[]; values: Float64Array } {
    const array = this.arrays.get(key)
    if (array === undefined) throw unreadable(`a clip needs the array "${key}"`)
    const { file, header } = array
    if (!kinds.includes(header.dtype.charAt(0))) {
      const wanted = kinds === FRACTIONS ? 'fractions (float16, float32 or float64)' : 'numbers'
      throw unreadable(`"${key}" must be ${wanted}, is ${header.dtype}`)
    }
    return { shape: header.shape, values: named(key, () => readNpyValues(file, header)) }
  }

  /** One whole number; `fallback` when the file does not say. */
  number(key: string, fallback: number): number {
    if (!this.has(key)) return fallback
    const { shape, values } = this.numbers(key, NUMBERS_AND_FLAGS)
    const value = values[0]
    if (values.length !== 1 || value === undefined) throw unreadable(`"${key}" has shape [${shape.join(', ')}]`)
    if (!(Math.abs(value) <= MOST)) throw unreadable(`"${key}" must be a finite number of at most ${MOST}, is ${value}`)
    return Math.trunc(value)
  }
}

function unreadable(message: string, cause?: unknown): ClipFileError {
  return new ClipFileError('unreadable', message, { cause })
}

function named<T>(key: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof NpyError) throw unreadable(`"${key}" ${error.message}`, error)
    throw error
  }
}

function unzip(bytes: Uint8Array): Map<string, Uint8Array> {
  try {
    return readZip(bytes)
  } catch (error) {
    if (error instanceof ZipError) throw unreadable(error.message, error)
    throw error
  }
}

/** @throws ClipFileError when the bytes are no landmark clip, or one that cannot be right */
export function readClip(bytes: Uint8Array): Clip {
  const archive = new Archive(bytes)
  if (archive.has('landmarks_q')) throw new ClipFileError('data_set', '"landmarks_q" holds many clips')
  const { shape, values } = archive.numbers('landmarks', FRACTIONS)
  const [numFrames = 0, numPoints, numAxes] = shape
  const times = archive.has('times_ms') ? archive.numbers('times_ms', NUMBERS) : defaultTimes(numFrames)
  const width = archive.number('width', DEFAULT_SIZE.width)
  const height = archive.number('height', DEFAULT_SIZE.height)
  const isMirrored = archive.number('mirrored', 0) !== 0
  const badText = TEXTS.find((key) => sizeOf(archive.shape(key) ?? []) !== 1)
  if (badText !== undefined) throw unreadable(`"${badText}" must be one text`)

  if (shape.length !== 3 || numPoints !== NUM_POINTS || numAxes !== 3 || numFrames === 0) {
    throw unreadable(`"landmarks" has shape [${shape.join(', ')}], expected [T, ${NUM_POINTS}, 3] with T at least 1`)
  }
  const landmarks = Float32Array.from(values)
  if (landmarks.some((value) => Math.abs(value) === Infinity)) {
    throw new ClipFileError('positions', '"landmarks" holds infinite values; a missing point is NaN')
  }
  const timesMs = checkedTimes(times, numFrames)
  if (width < 1 || height < 1)
    throw unreadable(`the frame must be at least 1 pixel wide and high, is ${width}x${height}`)
  eraseZeroPoints(landmarks)
  const frames = Array.from({ length: numFrames }, (_, index) =>
    landmarks.subarray(index * NUM_VALUES, (index + 1) * NUM_VALUES),
  )
  if (isMirrored) for (const frame of frames) frame.set(mirror(frame))
  eraseImpossible(landmarks)
  const wrongPoints = judgePoints(landmarks, width, height)
  if (wrongPoints !== null) throw new ClipFileError('positions', wrongPoints)
  const wrongTimes = judgeTimes(timesMs)
  if (wrongTimes !== null) throw new ClipFileError('times', wrongTimes)
  return { frames, timesMs, width, height }
}

function defaultTimes(numFrames: number): { shape: number[]; values: Float64Array } {
  return {
    shape: [numFrames],
    values: Float64Array.from({ length: numFrames }, (_, index) => index * DEFAULT_FRAME_MS),
  }
}

function checkedTimes({ shape, values }: { shape: number[]; values: Float64Array }, numFrames: number): number[] {
  if (shape.length !== 1 || values.length !== numFrames) {
    throw unreadable(`"times_ms" has shape [${shape.join(', ')}], expected [${numFrames}], one a frame`)
  }
  const frame = values.findIndex((time, index) => !Number.isFinite(time) || time <= (values[index - 1] ?? -Infinity))
  if (frame >= 0) {
    throw new ClipFileError(
      'times',
      `"times_ms" must be finite, strictly increasing milliseconds; frame ${frame} is at ${values[frame]}: put the frames in order, each once`,
    )
  }
  return Array.from(values)
}

/** Points at exactly (0, 0, 0) are missing: detectors that write zeros for what they do not see put them there. */
function eraseZeroPoints(landmarks: Float32Array): void {
  for (let point = 0; point < landmarks.length; point += 3) {
    if (landmarks[point] === 0 && landmarks[point + 1] === 0 && landmarks[point + 2] === 0) {
      landmarks.fill(NaN, point, point + 3)
    }
  }
}
