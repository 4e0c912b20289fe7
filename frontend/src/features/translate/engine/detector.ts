/** The page's end of the detection worker: loads it once, feeds it one source at a time, and hands out what it finds. */
import type { DetectedFrame, FromDetector, ToDetector } from './detectorMessages'
import { EngineError } from './problems'

export type DetectorWorker = Pick<Worker, 'postMessage' | 'terminate' | 'onmessage' | 'onerror'>

export interface DetectorEvents {
  onFrame(frame: DetectedFrame): void
  /** The camera's stream ended by itself. */
  onFinished(): void
  /** Detection broke after it had loaded. */
  onFailed(error: EngineError): void
}

export class Detector {
  private worker: DetectorWorker | null = null
  private loading: Promise<void> | null = null
  private loaded = { resolve: (): void => undefined, reject: (_error: EngineError): void => undefined }
  private isLoaded = false
  private source = 0
  private pending: { resolve: (frame: DetectedFrame) => void; reject: (error: EngineError) => void } | null = null

  constructor(
    private readonly createWorker: () => DetectorWorker,
    private readonly events: DetectorEvents,
  ) {}

  /**
   * Loads the models, once; a failed load can be tried again.
   *
   * @throws EngineError
   */
  load(): Promise<void> {
    if (this.loading !== null) return this.loading
    this.loading = new Promise<void>((resolve, reject) => {
      this.loaded = { resolve, reject }
    })
    try {
      const worker = this.createWorker()
      worker.onmessage = (event: MessageEvent<FromDetector>) => this.receive(event.data)
      worker.onerror = (event) =>
        this.fail(new EngineError('worker_failed', event.message || 'the worker did not start'))
      this.worker = worker
      this.send({ type: 'load', pageTimeOrigin: performance.timeOrigin })
    } catch (error) {
      this.fail(new EngineError('worker_failed', String(error), { cause: error }))
    }
    return this.loading
  }

  /** A new source begins; frames of the one before are not handed out any more. */
  begin(): void {
    this.source += 1
    this.pending?.reject(new EngineError('file_unreadable', 'another source took its place'))
    this.pending = null
    this.send({ type: 'begin', source: this.source })
  }

  /** Reads a camera's frames in the worker itself; they arrive at `onFrame`. */
  watch(frames: ReadableStream<VideoFrame>): void {
    this.send({ type: 'stream', frames }, [frames])
  }

  /** Finds the points in one picture, which is used up. One at a time. */
  detect(picture: ImageBitmap, timeMs: number): Promise<DetectedFrame> {
    return new Promise((resolve, reject) => {
      this.pending = { resolve, reject }
      this.send({ type: 'picture', picture, timeMs }, [picture])
    })
  }

  dispose(): void {
    this.worker?.terminate()
    this.worker = null
    this.loading = null
    this.isLoaded = false
    this.pending = null
  }

  private receive(message: FromDetector): void {
    switch (message.type) {
      case 'loaded':
        this.isLoaded = true
        this.loaded.resolve()
        return
      case 'failed':
        this.fail(new EngineError(message.problem, message.detail))
        return
      case 'finished':
        if (message.source === this.source) this.events.onFinished()
        return
      case 'frame':
        if (message.source !== this.source) return
        if (this.pending === null) this.events.onFrame(message)
        else {
          this.pending.resolve(message)
          this.pending = null
        }
    }
  }

  private fail(error: EngineError): void {
    const [wasLoaded, pending] = [this.isLoaded, this.pending]
    const { reject } = this.loaded
    this.dispose()
    reject(error)
    pending?.reject(error)
    if (wasLoaded) this.events.onFailed(error)
  }

  private send(message: ToDetector, transfer: Transferable[] = []): void {
    this.worker?.postMessage(message, transfer)
  }
}
