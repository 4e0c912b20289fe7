/** What the page and the detection worker say to each other. */
import type { Problem } from '../model'

/** Times are in the page's `performance.now()`: the capture clock. */
export type ToDetector =
  | { type: 'load'; pageTimeOrigin: number }
  /** Source number `source` begins: forget where the person was. */
  | { type: 'begin'; source: number }
  /** Camera frames, read as fast as they can be detected (Chromium). */
  | { type: 'stream'; frames: ReadableStream<VideoFrame> }
  /** One picture: answered by one `frame` message (other browsers, and files). */
  | { type: 'picture'; picture: ImageBitmap; timeMs: number }

export interface DetectedFrame {
  type: 'frame'
  source: number
  timeMs: number
  /** 225 values, see lib/landmarks. */
  points: Float32Array
  width: number
  height: number
  /** Mean brightness in [0, 1], measured about once a second; null in between. */
  luminance: number | null
}

export interface Loaded {
  type: 'loaded'
  delegate: 'CPU' | 'GPU'
  /** Why a graphics processor that is there is not used. */
  gpuFailure: string | null
}

export type FromDetector =
  | Loaded
  | { type: 'failed'; problem: Problem; detail: string }
  /** The camera's stream came to its end. */
  | { type: 'finished'; source: number }
  | DetectedFrame
