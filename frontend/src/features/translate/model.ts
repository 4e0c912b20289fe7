/**
 * What the translate page shows, and what it may ask of the engine that fills it.
 *
 * The engine (camera, detector, socket) runs without React and owns the store; components only read it and call the
 * controller. Times are milliseconds on the capture clock, fractions lie in [0, 1].
 */
import type { StoreApi } from 'zustand/vanilla'
import type { ErrorCode } from '@/api/generated/wsMessages'

/** The stages of start-up, in the order in which a person meets them. */
export type StageName = 'camera' | 'models' | 'server'

/** Everything that can stop translating; the page has one sentence of help for each. */
export type Problem =
  | 'camera_missing'
  | 'camera_refused'
  | 'camera_busy'
  | 'insecure_origin'
  | 'worker_failed'
  | 'models_failed'
  | 'webgl_missing'
  | 'server_unreachable'
  | 'server_busy'
  | 'no_model'
  | 'file_unreadable'
  | 'file_clip_unreadable'
  | 'file_is_data_set'
  | 'file_times_wrong'
  | 'file_positions_wrong'
  | 'file_no_frames'

export interface Stage {
  state: 'pending' | 'working' | 'ok' | 'failed'
  problem?: Problem
  /** Technical detail for people who look for it, never the only explanation. */
  detail?: string
}

export interface Alternative {
  label: string
  confidence: number
}

/** One finished sign; `label` null means "not sure". */
export interface Sign {
  id: number
  label: string | null
  confidence: number
  alternatives: Alternative[]
  startMs: number
  endMs: number
  /** Time that the server took to answer. */
  latencyMs: number
  modelVersion: string
  /** The second half of a sign that was cut in two: the caption shows it once. */
  isRepeat?: boolean
  /** Which source it came from, counted since the page was opened; each has a clock of its own. */
  source?: number
  isFromFile?: boolean
  /** The label that the person put in place of the answer. */
  chosen?: string
  undone?: boolean
}

export type Hint = 'shoulders_out' | 'hands_out' | 'low_light'

/** What the server finds wrong with a stream: the page says what and what to do. By error code, save for what only a wrong page or file sends. */
export type StreamTrouble =
  | 'refused'
  | Extract<
      ErrorCode,
      | 'implausible_times'
      | 'hands_exchanged'
      | 'hand_given_twice'
      | 'bad_values'
      | 'inference_failed'
      | 'inference_overloaded'
    >

export interface TranslateState {
  stages: Record<StageName, Stage>
  source: 'none' | 'camera' | 'file'
  /** Sources since the page was opened. */
  numSources: number
  running: boolean
  cameras: { id: string; label: string }[]
  cameraId: string | null
  signing: 'IDLE' | 'RECORDING' | 'INFERRING'
  hints: Hint[]
  partial: Alternative[]
  signs: Sign[]
  caption: string
  /** Frames detected in a second, measured; null before the first second. */
  captureFps: number | null
  /** From the end of the last sign to its text on the page, measured. */
  delayMs: number | null
  framesDropped: number
  connection: 'closed' | 'connecting' | 'open' | 'reconnecting' | 'busy'
  retryAfterS: number | null
  modelVersion: string | null
  vocabularySize: number | null
  /** Shows the server that clips given in this session are this person's, to list and delete them later. */
  giverToken: string | null
  /** The server could not keep the clip that was given last; the correction on the page stands. */
  clipRefused: boolean
  /** How much of the file has been translated, in [0, 1]; null without a file. */
  fileProgress: number | null
  /** What the server finds wrong with this source; null where nothing. */
  trouble: StreamTrouble | null
}

export interface TranslateController {
  store: StoreApi<TranslateState>
  /** Plays the source in `video` and draws the skeleton on `overlay`; the caller mirrors the preview with CSS. Returns the detach function. */
  attach(video: HTMLVideoElement, overlay: HTMLCanvasElement): () => void
  setSkeletonVisible(visible: boolean): void
  setLocale(locale: 'en' | 'fr'): void
  startCamera(cameraId?: string): Promise<void>
  stop(): void
  openFile(file: File): Promise<void>
  undo(): void
  clear(): void
  choose(signId: number, label: string, consent: boolean): void
  retry(): void
  dispose(): void
}
