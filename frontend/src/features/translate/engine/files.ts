/**
 * Files as sources: a video is decoded frame by frame with its real times and detected like the camera, a landmark clip is sent as it is.
 * Both are consumed as fast as the rest can follow; nothing is dropped.
 */
import { ClipFileError, type ClipProblem, readClip } from '@/lib/clip'
import type { Problem } from '../model'
import { EngineError, describe } from './problems'

export interface FileInfo {
  width: number
  height: number
  durationMs: number
}

export interface VideoPicture {
  timeMs: number
  canvas: HTMLCanvasElement | OffscreenCanvas
}

export interface VideoSource extends FileInfo {
  kind: 'video'
  pictures(): AsyncGenerator<VideoPicture, void, unknown>
  close(): void
}

export interface ClipSource extends FileInfo {
  kind: 'clip'
  frames: { timeMs: number; points: Float32Array }[]
}

/** Faster videos are thinned to this: more frames would not help the recogniser, only take longer. */
const MAX_FPS = 31
const CLIP_PROBLEMS: Readonly<Record<ClipProblem, Problem>> = {
  times: 'file_times_wrong',
  positions: 'file_positions_wrong',
  data_set: 'file_is_data_set',
  unreadable: 'file_clip_unreadable',
}
/** Pixels, as backend/app/api/ws_messages.py allows them in `hello`. */
const SMALLEST_SIDE = 16
const LARGEST_SIDE = 16_384
const ZIP_MAGIC = 0x504b0304

/**
 * Opens a dropped file, whatever its name says.
 *
 * @throws EngineError one of the problems that begin with `file_`
 */
export async function openFileSource(file: Blob): Promise<VideoSource | ClipSource> {
  const start = new DataView(await file.slice(0, 4).arrayBuffer())
  const isZip = start.byteLength === 4 && start.getUint32(0) === ZIP_MAGIC
  return isZip ? openClip(file) : openVideo(file)
}

async function openClip(file: Blob): Promise<ClipSource> {
  try {
    const clip = readClip(new Uint8Array(await file.arrayBuffer()))
    const frames = clip.frames.map((points, index) => ({ points, timeMs: clip.timesMs[index] ?? 0 }))
    const [first, last] = [frames[0], frames.at(-1)]
    if (first === undefined || last === undefined) throw new EngineError('file_no_frames', 'the clip has no frames')
    return { kind: 'clip', frames, ...streamable(clip), durationMs: last.timeMs - first.timeMs }
  } catch (error) {
    if (!(error instanceof ClipFileError)) throw error
    throw new EngineError(CLIP_PROBLEMS[error.problem], error.message, { cause: error })
  }
}

/** A size of the same shape that a stream may have: some clips say 1 x 1, and only the shape matters. */
function streamable({ width, height }: { width: number; height: number }): { width: number; height: number } {
  const [shorter, longer] = [Math.min(width, height), Math.max(width, height)]
  const scale = Math.min(Math.max(1, SMALLEST_SIDE / shorter), LARGEST_SIDE / longer)
  if (shorter * scale < SMALLEST_SIDE)
    throw new EngineError('file_clip_unreadable', `a frame of ${width}x${height} is no picture`)
  return { width: Math.round(width * scale), height: Math.round(height * scale) }
}

async function openVideo(file: Blob): Promise<VideoSource> {
  if (!('VideoDecoder' in globalThis)) {
    throw globalThis.isSecureContext
      ? new EngineError(
          'file_unreadable',
          'this browser has no WebCodecs; a current Chrome, Edge, Firefox or Safari has',
        )
      : new EngineError('insecure_origin', 'videos can only be decoded over HTTPS or on localhost')
  }
  const { ALL_FORMATS, BlobSource, CanvasSink, Input } = await import('mediabunny')
  const input = new Input({ source: new BlobSource(file), formats: ALL_FORMATS })
  try {
    const track = await input.getPrimaryVideoTrack()
    if (track === null) throw new EngineError('file_no_frames', 'the file has no video track')
    if (!(await track.canDecode())) {
      throw new EngineError('file_unreadable', `this browser cannot decode ${track.codec ?? 'this codec'}`)
    }
    const [startS, endS] = [await track.getFirstTimestamp(), await track.computeDuration()]
    async function* pictures(): AsyncGenerator<VideoPicture, void, unknown> {
      let nextS = -Infinity
      for await (const { canvas, timestamp } of new CanvasSink(track as NonNullable<typeof track>, {
        poolSize: 3,
      }).canvases()) {
        if (timestamp < nextS) continue
        nextS = timestamp + 1 / MAX_FPS
        yield { canvas, timeMs: (timestamp - startS) * 1000 }
      }
    }
    return {
      kind: 'video',
      width: track.displayWidth,
      height: track.displayHeight,
      durationMs: (endS - startS) * 1000,
      pictures,
      close: () => input.dispose(),
    }
  } catch (error) {
    input.dispose()
    throw error instanceof EngineError ? error : new EngineError('file_unreadable', describe(error), { cause: error })
  }
}
