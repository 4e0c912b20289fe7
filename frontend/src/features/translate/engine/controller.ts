/**
 * The engine of the translate page: camera or file -> detector -> conversation -> store. No React, and no video leaves the page.
 *
 * One source runs at a time. Starting another, or stopping, makes everything that still belongs to the last one fall silent: each source
 * has a number, and what carries an old number is ignored.
 */
import { createStore } from 'zustand/vanilla'
import type { SocketOptions } from '@/api/SignFlowSocket'
import type { TranslateController, TranslateState } from '../model'
import { closeCamera, listCameras, openCamera, type OpenCamera } from './camera'
import { watchCamera } from './cameraFrames'
import { Conversation } from './conversation'
import { Detector, type DetectorWorker } from './detector'
import type { DetectedFrame } from './detectorMessages'
import { openFileSource, type ClipSource, type VideoSource } from './files'
import { FrameRate } from './frameRate'
import { HintTracker } from './hints'
import { Overlay } from './overlay'
import { EngineError } from './problems'
import { StageBoard } from './stages'
import { INITIAL_STATE } from './state'

export interface ControllerOptions {
  /** The stream endpoint; the page's own server by default. */
  url?: string
  createWorker?: () => DetectorWorker
  createWebSocket?: NonNullable<SocketOptions['createWebSocket']>
  devices?: MediaDevices
  openFile?: (file: Blob) => Promise<VideoSource | ClipSource>
}

const STREAM_PATH = '/api/v1/translate/stream'
/** How often numbers that change with every frame reach the page. */
const MEASURE_INTERVAL_MS = 500
/** Said to the server before the first picture has come; most webcams have it. */
const WEBCAM = { width: 640, height: 480 }

export function createTranslateController(options: ControllerOptions = {}): TranslateController {
  return new Engine(options)
}

function streamUrl(): string {
  const url = new URL(STREAM_PATH, window.location.href)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  return url.href
}

class Engine implements TranslateController {
  readonly store = createStore<TranslateState>(() => INITIAL_STATE)
  private readonly stages = new StageBoard(this.store)
  private readonly conversation: Conversation
  private readonly detector: Detector
  private readonly overlay = new Overlay()
  private readonly devices: MediaDevices | undefined
  private readonly rate = new FrameRate()
  private hints = new HintTracker()
  private video: HTMLVideoElement | null = null
  private camera: OpenCamera | null = null
  private stopWatching: (() => void) | null = null
  private source = 0
  private lastMeasureMs = 0
  private again: () => Promise<void> = () => this.startCamera()

  constructor(private readonly options: ControllerOptions) {
    this.devices = 'devices' in options ? options.devices : navigator.mediaDevices
    this.conversation = new Conversation(this.store, this.stages, {
      url: options.url ?? streamUrl(),
      ...(options.createWebSocket === undefined ? {} : { createWebSocket: options.createWebSocket }),
    })
    const createWorker =
      options.createWorker ?? (() => new Worker(new URL('./detector.worker.ts', import.meta.url), { type: 'module' }))
    this.detector = new Detector(createWorker, {
      onFrame: (frame) => this.cameraFrame(frame),
      onFinished: () => this.cameraLost(),
      onFailed: (error) => this.detectionFailed(error),
    })
    this.devices?.addEventListener('devicechange', this.refreshCameras)
    window.addEventListener('online', this.reconnect)
  }

  attach(video: HTMLVideoElement, overlay: HTMLCanvasElement): () => void {
    this.video = video
    this.overlay.attach(overlay)
    this.play()
    return () => {
      if (this.video !== video) return
      video.srcObject = null
      this.video = null
      this.overlay.detach()
    }
  }

  setSkeletonVisible(visible: boolean): void {
    this.overlay.setVisible(visible)
  }

  setLocale(locale: 'en' | 'fr'): void {
    this.conversation.setLocale(locale)
  }

  async startCamera(cameraId?: string): Promise<void> {
    const source = this.beginSource('camera')
    this.again = () => this.startCamera(cameraId)
    this.conversation.open({ ...WEBCAM, mirrored: false, pace: 'live' })
    this.stages.set('camera', 'working')
    // Loads while the person is asked for the camera; its failure is shown by itself.
    const models = this.loadModels().then(
      () => true,
      () => false,
    )
    try {
      const camera = await openCamera(this.devices, cameraId ?? this.store.getState().cameraId)
      if (source !== this.source) {
        closeCamera(camera)
        return
      }
      this.camera = camera
      this.store.setState({ cameraId: camera.id })
      this.stages.set('camera', 'ok')
      this.followTrack(camera, source)
      this.play()
      void this.refreshCameras()
    } catch (error) {
      if (source !== this.source) return
      this.stages.fail('camera', error, 'camera_missing')
      this.conversation.close()
      return
    }
    if (!(await models) || source !== this.source) return
    this.detector.begin()
    this.stopWatching = watchCamera(
      this.detector,
      this.camera.track,
      () => this.video,
      (frame) => this.cameraFrame(frame),
    )
    this.store.setState({ running: true })
  }

  async openFile(file: File): Promise<void> {
    const source = this.beginSource('file')
    this.again = () => this.openFile(file)
    this.store.setState({ fileProgress: 0 })
    try {
      const opened = await (this.options.openFile ?? openFileSource)(file)
      if (source !== this.source) return
      this.conversation.open({ width: opened.width, height: opened.height, mirrored: false, pace: 'replay' })
      this.store.setState({ running: true })
      await (opened.kind === 'clip' ? this.playClip(opened, source) : this.playVideo(opened, source))
      if (source !== this.source) return
      await this.conversation.finish()
      if (source === this.source) this.store.setState({ running: false, fileProgress: 1, signing: 'IDLE' })
    } catch (error) {
      if (source === this.source) this.fileFailed(error)
    }
  }

  stop(): void {
    void this.conversation.finish()
    this.endSource()
    this.store.setState({ source: 'none', fileProgress: null })
    this.stages.set('camera', 'pending')
  }

  undo(): void {
    this.conversation.undo()
  }

  clear(): void {
    this.conversation.clear()
  }

  choose(signId: number, label: string, consent: boolean): void {
    this.conversation.choose(signId, label, consent)
  }

  retry(): void {
    const isBroken = this.stages.state('camera') === 'failed' || this.stages.state('models') === 'failed'
    if (isBroken || this.conversation.isClosed) void this.again()
    else this.conversation.retryNow()
  }

  dispose(): void {
    this.endSource()
    this.conversation.close()
    this.detector.dispose()
    this.overlay.detach()
    this.devices?.removeEventListener('devicechange', this.refreshCameras)
    window.removeEventListener('online', this.reconnect)
  }

  private readonly refreshCameras = async (): Promise<void> => {
    this.store.setState({ cameras: await listCameras(this.devices) })
  }

  private readonly reconnect = (): void => this.conversation.retryNow()

  private beginSource(kind: 'camera' | 'file'): number {
    this.endSource()
    this.hints = new HintTracker()
    this.rate.reset()
    const numSources = this.store.getState().numSources + 1
    this.store.setState({ source: kind, numSources, fileProgress: null, delayMs: null, trouble: null })
    this.stages.set('camera', 'pending')
    return this.source
  }

  /** Everything of the present source falls silent; its session stays open, so that undo and corrections still reach the server. */
  private endSource(): void {
    this.source += 1
    this.detector.end()
    this.stopWatching?.()
    this.stopWatching = null
    if (this.camera !== null) closeCamera(this.camera)
    this.camera = null
    this.play()
    this.overlay.clear()
    this.store.setState({ running: false, signing: 'IDLE', hints: [], partial: [], captureFps: null })
  }

  /** @throws EngineError after the stage has said why the models could not be loaded */
  private async loadModels(): Promise<void> {
    if (this.stages.state('models') !== 'ok') this.stages.set('models', 'working')
    try {
      const { delegate, gpuFailure } = await this.detector.load()
      this.stages.set('models', 'ok', gpuFailure === null ? delegate : `${delegate} (${gpuFailure})`)
    } catch (error) {
      this.stages.fail('models', error)
      throw error
    }
  }

  private play(): void {
    if (this.video === null) return
    this.video.srcObject = this.camera?.stream ?? null
    // A preview that may not play by itself still shows its frames once the person has clicked; detection does not depend on it.
    if (this.camera !== null) this.video.play().catch(() => undefined)
  }

  private cameraFrame(frame: DetectedFrame): void {
    this.conversation.resize(frame.width, frame.height)
    this.frame(frame)
    const hints = this.hints.step(frame)
    if (hints.join() !== this.store.getState().hints.join()) this.store.setState({ hints })
  }

  private frame(frame: DetectedFrame, picture?: CanvasImageSource): void {
    this.conversation.sendFrame(frame)
    this.overlay.show(picture === undefined ? frame : { ...frame, picture })
    const nowMs = performance.now()
    this.rate.add(nowMs)
    if (nowMs - this.lastMeasureMs < MEASURE_INTERVAL_MS) return
    this.lastMeasureMs = nowMs
    this.store.setState({ captureFps: this.rate.fps, framesDropped: this.conversation.framesDropped })
  }

  private async playClip(clip: ClipSource, source: number): Promise<void> {
    const startMs = clip.frames[0]?.timeMs ?? 0
    for (const { timeMs, points } of clip.frames) {
      await this.conversation.writable()
      if (source !== this.source) return
      this.conversation.sendFrame({ timeMs: timeMs - startMs, points })
      this.overlay.show({ points, width: clip.width, height: clip.height })
      this.progress(timeMs - startMs, clip.durationMs)
    }
  }

  private async playVideo(video: VideoSource, source: number): Promise<void> {
    try {
      await this.loadModels()
      if (source !== this.source) return
      this.detector.begin()
      let numFrames = 0
      for await (const { canvas, timeMs } of video.pictures()) {
        await this.conversation.writable()
        if (source !== this.source) return
        const frame = await this.detector.detect(await createImageBitmap(canvas), timeMs)
        if (source !== this.source) return
        this.frame(frame, canvas)
        this.progress(timeMs, video.durationMs)
        numFrames += 1
      }
      if (numFrames === 0) throw new EngineError('file_no_frames', 'the video has no frames')
    } finally {
      video.close()
    }
  }

  private progress(timeMs: number, durationMs: number): void {
    const fileProgress = durationMs > 0 ? Math.min(1, timeMs / durationMs) : 1
    if (fileProgress - (this.store.getState().fileProgress ?? 0) >= 0.01) this.store.setState({ fileProgress })
  }

  /** A camera may be unplugged, or taken away for a while by the system or another program. */
  private followTrack({ track }: OpenCamera, source: number): void {
    const follow = (event: string, react: () => void): void =>
      track.addEventListener(event, () => {
        if (source === this.source) react()
      })
    follow('ended', () => this.cameraLost())
    follow('mute', () => this.stages.fail('camera', new EngineError('camera_busy', 'the camera sends no pictures')))
    follow('unmute', () => this.stages.set('camera', 'ok'))
  }

  private cameraLost(): void {
    this.endSource()
    this.stages.fail('camera', new EngineError('camera_missing', 'the camera went away'))
  }

  private detectionFailed(error: EngineError): void {
    this.endSource()
    this.stages.fail('models', error)
  }

  /** A file that cannot be translated leaves the page without a source; its problem takes the camera's place. */
  private fileFailed(error: unknown): void {
    this.endSource()
    this.conversation.close()
    this.store.setState({ source: 'none', fileProgress: null })
    if (this.stages.state('models') !== 'failed') this.stages.fail('camera', error, 'file_unreadable')
  }
}
