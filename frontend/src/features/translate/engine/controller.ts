/**
 * The engine of the translate page: camera or file -> detector -> socket -> store. No React, no video leaves the page.
 *
 * One source runs at a time. Starting another, or stopping, makes everything that still belongs to the last one fall silent: each source
 * has a number, and what carries an old number is ignored.
 */
import { createStore } from 'zustand/vanilla'
import type { ServerMessage } from '@/api/messages'
import { SignFlowSocket, type ConnectionState, type SocketOptions, type StreamSettings } from '@/api/SignFlowSocket'
import type { Stage, StageName, TranslateController, TranslateState } from '../model'
import { closeCamera, listCameras, openCamera, type OpenCamera } from './camera'
import { watchCamera } from './cameraFrames'
import { Detector, type DetectorWorker } from './detector'
import type { DetectedFrame } from './detectorMessages'
import { openFileSource, type ClipSource, type VideoSource } from './files'
import { FrameRate } from './frameRate'
import { HintTracker } from './hints'
import { Overlay } from './overlay'
import { EngineError, describe } from './problems'
import { FIRST_SESSION, INITIAL_STATE, changes, nextSession, withLastUndone } from './state'

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
  private readonly socket: SignFlowSocket
  private readonly detector: Detector
  private readonly overlay = new Overlay()
  private readonly devices: MediaDevices | undefined
  private readonly rate = new FrameRate()
  private hints = new HintTracker()
  private video: HTMLVideoElement | null = null
  private camera: OpenCamera | null = null
  private stopWatching: (() => void) | null = null
  private source = 0
  private session = FIRST_SESSION
  private sessionId: string | null = null
  private stream: StreamSettings = { ...WEBCAM, mirrored: false, pace: 'live' }
  private locale: 'en' | 'fr' = 'en'
  private lastMeasureMs = 0
  private serverDropped = 0
  private again: () => Promise<void> = () => this.startCamera()

  constructor(private readonly options: ControllerOptions) {
    this.devices = 'devices' in options ? options.devices : navigator.mediaDevices
    this.socket = new SignFlowSocket({
      url: options.url ?? streamUrl(),
      onMessage: (message) => this.receive(message),
      onConnection: (state, detail) => this.connectionChanged(state, detail),
      ...(options.createWebSocket === undefined ? {} : { createWebSocket: options.createWebSocket }),
    })
    const createWorker =
      options.createWorker ?? (() => new Worker(new URL('./detector.worker.ts', import.meta.url), { type: 'module' }))
    this.detector = new Detector(createWorker, {
      onFrame: (frame) => this.cameraFrame(frame),
      onFinished: () => this.cameraLost(),
      onFailed: (error) => this.fail('models', error),
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
    this.locale = locale
  }

  async startCamera(cameraId?: string): Promise<void> {
    const source = this.beginSource('camera')
    this.again = () => this.startCamera(cameraId)
    this.openStream({ ...WEBCAM, mirrored: false, pace: 'live' })
    this.stage('camera', { state: 'working' })
    const models = this.loadModels()
    try {
      const camera = await openCamera(this.devices, cameraId ?? this.store.getState().cameraId)
      if (source !== this.source) {
        closeCamera(camera)
        return
      }
      this.camera = camera
      this.store.setState({ cameraId: camera.id })
      this.stage('camera', { state: 'ok' })
      camera.track.addEventListener('ended', () => {
        if (source === this.source) this.cameraLost()
      })
      this.play()
      void this.refreshCameras()
    } catch (error) {
      if (source === this.source) this.fail('camera', error)
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
      this.openStream({ width: opened.width, height: opened.height, mirrored: false, pace: 'replay' })
      this.store.setState({ running: true })
      await (opened.kind === 'clip' ? this.playClip(opened, source) : this.playVideo(opened, source))
      if (source !== this.source) return
      await this.socket.finish()
      if (source === this.source) this.store.setState({ running: false, fileProgress: 1, signing: 'IDLE' })
    } catch (error) {
      if (source === this.source) this.fail('camera', error)
    }
  }

  stop(): void {
    void this.socket.finish()
    this.endSource()
    this.store.setState({ source: 'none', fileProgress: null })
    this.stage('camera', { state: 'pending' })
  }

  undo(): void {
    this.socket.send({ type: 'undo' })
    this.store.setState(({ signs }) => ({ signs: withLastUndone(signs, this.session) }))
  }

  clear(): void {
    this.socket.send({ type: 'reset' })
    this.session = { ...this.session, captionBefore: '' }
    this.store.setState({ signs: [], caption: '', partial: [], delayMs: null })
  }

  choose(signId: number, label: string, consent: boolean): void {
    const serverId = signId - this.session.idOffset
    if (serverId > 0) this.socket.send({ type: 'feedback', sign_id: serverId, label, consent })
    this.store.setState(({ signs }) => ({
      signs: signs.map((sign) => (sign.id === signId ? { ...sign, chosen: label } : sign)),
    }))
  }

  retry(): void {
    const { stages, source } = this.store.getState()
    const isBroken = stages.camera.state === 'failed' || stages.models.state === 'failed' || source === 'none'
    if (isBroken || this.socket.state === 'closed') void this.again()
    else this.socket.retryNow()
  }

  dispose(): void {
    this.endSource()
    this.socket.close()
    this.detector.dispose()
    this.overlay.detach()
    this.devices?.removeEventListener('devicechange', this.refreshCameras)
    window.removeEventListener('online', this.reconnect)
  }

  private readonly refreshCameras = async (): Promise<void> => {
    this.store.setState({ cameras: await listCameras(this.devices) })
  }

  private readonly reconnect = (): void => this.socket.retryNow()

  private beginSource(kind: 'camera' | 'file'): number {
    this.endSource()
    this.hints = new HintTracker()
    this.rate.reset()
    this.overlay.clear()
    this.store.setState({ source: kind, fileProgress: null, delayMs: null })
    this.stage('camera', { state: 'pending' })
    return this.source
  }

  /** Everything of the present source falls silent; its session stays open, so that undo and corrections still reach the server. */
  private endSource(): void {
    this.source += 1
    this.stopWatching?.()
    this.stopWatching = null
    if (this.camera !== null) closeCamera(this.camera)
    this.camera = null
    this.play()
    this.overlay.clear()
    this.store.setState({ running: false, signing: 'IDLE', hints: [], partial: [], captureFps: null })
  }

  private openStream(stream: StreamSettings): void {
    this.session = nextSession(this.store.getState())
    this.sessionId = null
    this.serverDropped = 0
    this.stream = { ...stream, locale: this.locale }
    this.stage('server', { state: 'working' })
    this.socket.open(this.stream)
  }

  /** @returns false when the models could not be loaded; the stage says why */
  private async loadModels(): Promise<boolean> {
    if (this.store.getState().stages.models.state !== 'ok') this.stage('models', { state: 'working' })
    try {
      await this.detector.load()
      this.stage('models', { state: 'ok' })
      return true
    } catch (error) {
      this.fail('models', error)
      return false
    }
  }

  private play(): void {
    if (this.video === null) return
    this.video.srcObject = this.camera?.stream ?? null
    // A preview that may not play by itself still shows its frames once the person has clicked; detection does not depend on it.
    if (this.camera !== null) this.video.play().catch(() => undefined)
  }

  private cameraFrame(frame: DetectedFrame): void {
    const { width, height } = frame
    if (width !== this.stream.width || height !== this.stream.height) {
      this.stream = { ...this.stream, width, height }
      this.socket.restream(this.stream)
    }
    this.frame(frame)
    const hints = this.hints.step(frame)
    const shown = this.store.getState().hints
    if (hints.join() !== shown.join()) this.store.setState({ hints })
  }

  private frame(frame: DetectedFrame, picture?: CanvasImageSource): void {
    this.socket.sendFrame(frame)
    this.overlay.show(picture === undefined ? frame : { ...frame, picture })
    const nowMs = performance.now()
    this.rate.add(nowMs)
    if (nowMs - this.lastMeasureMs < MEASURE_INTERVAL_MS) return
    this.lastMeasureMs = nowMs
    this.store.setState({ captureFps: this.rate.fps, framesDropped: this.serverDropped + this.socket.framesDropped })
  }

  private async playClip(clip: ClipSource, source: number): Promise<void> {
    const startMs = clip.frames[0]?.timeMs ?? 0
    for (const { timeMs, points } of clip.frames) {
      await this.socket.writable()
      if (source !== this.source) return
      this.socket.sendFrame({ timeMs: timeMs - startMs, points })
      this.overlay.show({ points, width: clip.width, height: clip.height })
      this.progress(timeMs - startMs, clip.durationMs)
    }
  }

  private async playVideo(video: VideoSource, source: number): Promise<void> {
    try {
      if (!(await this.loadModels()) || source !== this.source) return
      this.detector.begin()
      let numFrames = 0
      for await (const { canvas, timeMs } of video.pictures()) {
        await this.socket.writable()
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

  private receive(message: ServerMessage): void {
    if (message.type === 'ready') {
      if (this.sessionId !== null && !message.resumed && message.session_id !== this.sessionId) {
        this.session = nextSession(this.store.getState())
      }
      this.sessionId = message.session_id
    }
    if (message.type === 'stats') this.serverDropped = message.frames_dropped
    if (message.type === 'error' && message.code === 'no_model') {
      this.fail('server', new EngineError('no_model', message.message))
    }
    this.store.setState((state) => changes(state, message, this.session))
    if (message.type === 'sign' && this.stream.pace === 'live') this.measureDelay(message.end_ms)
  }

  /** From the end of the sign to the picture that shows its text. */
  private measureDelay(endMs: number): void {
    requestAnimationFrame(() => this.store.setState({ delayMs: Math.max(0, performance.now() - endMs) }))
  }

  private connectionChanged(state: ConnectionState, detail: { retryInS: number | null; reason: string | null }): void {
    this.store.setState({ connection: state, retryAfterS: detail.retryInS })
    if (state === 'open') this.stage('server', { state: 'ok' })
    else if (state === 'busy') this.fail('server', new EngineError('server_busy', 'the server is full'))
    else if (detail.reason !== null) this.fail('server', new EngineError('server_unreachable', detail.reason))
  }

  private cameraLost(): void {
    this.endSource()
    this.fail('camera', new EngineError('camera_missing', 'the camera went away'))
  }

  private fail(stage: StageName, error: unknown): void {
    const known = error instanceof EngineError ? error : new EngineError('worker_failed', describe(error))
    this.stage(stage, { state: 'failed', problem: known.problem, detail: known.message })
    if (stage !== 'server') this.store.setState({ running: false })
  }

  private stage(name: StageName, stage: Stage): void {
    this.store.setState(({ stages }) => ({ stages: { ...stages, [name]: stage } }))
  }
}
