/** The page's end of the detection worker: loads it once, feeds it one source at a time, and hands out what it finds. */
import type { DetectedFrame, FromDetector, Loaded, ToDetector } from './detectorMessages'
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
  private loading: Promise<Loaded> | null = null
  private settle: { resolve: (loaded: Loaded) => void; reject: (error: EngineError) => void } | null = null
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
  load(): Promise<Loaded> {
    if (this.loading !== null) return this.loading
    const loading = new Promise<Loaded>((resolve, reject) => {
      this.settle = { resolve, reject }
    })
    this.loading = loading
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
    return loading
  }

  /** Nothing that is still on its way from the present source is handed out any more. */
  end(): void {
    this.source += 1
    this.pending?.reject(new EngineError('file_unreadable', 'another source took its place'))
    this.pending = null
  }

  /** A new source begins: the worker forgets where the person was. */
  begin(): void {
    this.end()
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
    this.loading = this.settle = this.pending = null
  }

  private receive(message: FromDetector): void {
    switch (message.type) {
      case 'loaded':
        this.settle?.resolve(message)
        this.settle = null
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
    const { settle, pending } = this
    this.dispose()
    pending?.reject(error)
    if (settle === null) this.events.onFailed(error)
    else settle.reject(error)
  }

  private send(message: ToDetector, transfer: Transferable[] = []): void {
    this.worker?.postMessage(message, transfer)
  }
}
