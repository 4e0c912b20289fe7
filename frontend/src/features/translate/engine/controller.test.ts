import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { emptyFrame } from '@/lib/landmarks'
import { FakeTrack, fakeCamera, fakeDevices } from '@/test/fakeDevices'
import { FakeNetwork } from '@/test/fakeWebSocket'
import { createTranslateController, type ControllerOptions } from './controller'
import type { DetectorWorker } from './detector'
import type { FromDetector, ToDetector } from './detectorMessages'
import { EngineError } from './problems'

/** A detector that loads at once and finds nobody in every picture. */
class FakeWorker implements DetectorWorker {
  onmessage: ((event: MessageEvent) => void) | null = null
  onerror: ((event: ErrorEvent) => void) | null = null
  source = 0
  isTerminated = false

  constructor(private readonly failure: FromDetector | null = null) {}

  postMessage(message: ToDetector): void {
    if (message.type === 'load') this.say(this.failure ?? { type: 'loaded', delegate: 'CPU', gpuFailure: null })
    if (message.type === 'begin') this.source = message.source
    if (message.type === 'picture') this.find(message.timeMs)
  }

  terminate(): void {
    this.isTerminated = true
  }

  say(message: FromDetector): void {
    queueMicrotask(() => this.onmessage?.(new MessageEvent('message', { data: message })))
  }

  find(timeMs: number, width = 640, height = 480): void {
    this.say({ type: 'frame', source: this.source, timeMs, points: emptyFrame(), width, height, luminance: 0.5 })
  }
}

function setUp(options: ControllerOptions & { workers?: FakeWorker[]; track?: FakeTrack } = {}) {
  const network = new FakeNetwork()
  const workers = options.workers ?? [new FakeWorker()]
  const track = options.track ?? new FakeTrack()
  let numWorkers = 0
  const controller = createTranslateController({
    url: 'ws://here/stream',
    createWebSocket: network.create,
    createWorker: () => workers[numWorkers++] ?? new FakeWorker(),
    devices: fakeDevices({ track, cameras: [fakeCamera('camera-1', 'Front')] }),
    ...options,
  })
  const start = async (): Promise<void> => {
    await controller.startCamera()
    await settle()
    network.latest.accept()
    network.latest.ready()
  }
  return {
    controller,
    network,
    track,
    start,
    worker: workers[0] ?? new FakeWorker(),
    state: () => controller.store.getState(),
  }
}

async function* pictures() {
  for (const timeMs of [0, 40, 80]) yield { timeMs, canvas: document.createElement('canvas') }
}

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0)

beforeEach(() => {
  vi.useFakeTimers()
  vi.stubGlobal(
    'MediaStreamTrackProcessor',
    class {
      readable = new ReadableStream()
    },
  )
  vi.stubGlobal('createImageBitmap', () => Promise.resolve({}))
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

describe('translating the camera', () => {
  it('goes through all stages and shows signs and captions', async () => {
    const { start, worker, network, state } = setUp()
    await start()
    worker.find(performance.now())
    await settle()
    network.latest.answer({ type: 'state', state: 'RECORDING', at_ms: 1 })
    network.latest.sign(1)
    network.latest.answer({ type: 'caption', text: 'hello' })

    expect(state().stages).toEqual({
      camera: { state: 'ok' },
      models: { state: 'ok', detail: 'CPU' },
      server: { state: 'ok' },
    })
    expect(state()).toMatchObject({
      source: 'camera',
      running: true,
      cameraId: 'camera-1',
      cameras: [{ id: 'camera-1', label: 'Front' }],
      signing: 'RECORDING',
      caption: 'hello',
      modelVersion: 'v1',
      vocabularySize: 50,
    })
    expect(state().signs).toMatchObject([{ id: 1, label: 'hello', source: 1, isFromFile: false }])
    expect(network.latest.sequences).toEqual([1])
    vi.advanceTimersByTime(20)
    expect(state().delayMs).not.toBeNull()
  })

  it('falls silent when it is stopped, and lets go of the camera', async () => {
    const { controller, start, worker, track, network, state } = setUp()
    await start()
    controller.stop()
    worker.find(performance.now())
    worker.say({ type: 'finished', source: worker.source })
    await settle()

    expect(track.stopped).toBe(true)
    expect(network.latest.sequences).toEqual([])
    expect(network.latest.messages.at(-1)).toEqual({ type: 'end' })
    expect(state()).toMatchObject({ source: 'none', running: false, stages: { camera: { state: 'pending' } } })
  })

  it('keeps what is on the page when the camera starts again, and counts on', async () => {
    const { controller, start, network, state } = setUp()
    await start()
    network.latest.sign(1)
    network.latest.answer({ type: 'caption', text: 'hello' })
    controller.stop()
    await start()
    network.latest.sign(1, 'cat')
    network.latest.answer({ type: 'caption', text: 'cat' })
    controller.choose(2, 'dog', true)
    controller.undo()

    expect(state().caption).toBe('hello cat')
    expect(state().signs.map(({ id, chosen, undone }) => [id, chosen, undone])).toEqual([
      [1, undefined, undefined],
      [2, 'dog', true],
    ])
    expect(network.latest.messages.slice(-2)).toEqual([
      { type: 'feedback', sign_id: 1, label: 'dog', consent: true },
      { type: 'undo' },
    ])
  })

  it('undoes both halves of a sign that was cut in two, and then the sign before', async () => {
    const { controller, start, network, state } = setUp()
    await start()
    network.latest.sign(1, 'cat')
    network.latest.sign(2, 'dog')
    network.latest.sign(3, 'dog', { is_repeat: true })
    const undone = () => state().signs.map((sign) => sign.undone === true)

    controller.undo()
    expect(undone()).toEqual([false, true, true])
    controller.undo()
    expect(undone()).toEqual([true, true, true])
  })

  it('undoes nothing that the server no longer holds', async () => {
    const { controller, start, network, state } = setUp()
    await start()
    network.latest.sign(1)
    controller.stop()
    await start()
    controller.undo()

    expect(state().signs[0]?.undone).toBeUndefined()
  })

  it('greets again when the phone turns, and keeps the caption', async () => {
    const { start, worker, network, state } = setUp()
    await start()
    network.latest.answer({ type: 'caption', text: 'hello' })
    worker.find(performance.now(), 480, 640)
    await settle()
    network.latest.answer({ type: 'caption', text: '' })

    expect(network.latest.messages.at(-1)).toMatchObject({ type: 'hello', width: 480, height: 640 })
    expect(state().caption).toBe('hello')
  })

  it('says that the camera was refused, and asks again on retry', async () => {
    let isRefused = true
    const refuse = () => (isRefused ? new DOMException('no', 'NotAllowedError') : null)
    const { controller, network, state } = setUp({ devices: fakeDevices({ refuse }) })
    await controller.startCamera()
    expect(state().stages.camera).toMatchObject({ state: 'failed', problem: 'camera_refused' })
    expect(state().connection).toBe('closed')

    isRefused = false
    controller.retry()
    await settle()
    expect(state().stages.camera).toEqual({ state: 'ok' })
    expect(network.sockets).toHaveLength(2)
  })

  it('loads the models again after they failed', async () => {
    const broken = new FakeWorker({ type: 'failed', problem: 'models_failed', detail: 'HTTP 404' })
    const { controller, state } = setUp({ workers: [broken, new FakeWorker()] })
    await controller.startCamera()
    expect(state().stages.models).toEqual({ state: 'failed', problem: 'models_failed', detail: 'HTTP 404' })
    expect(broken.isTerminated).toBe(true)

    controller.retry()
    await settle()
    expect(state().stages.models.state).toBe('ok')
    expect(state().running).toBe(true)
  })

  it('says so when the camera is unplugged or taken away', async () => {
    const { start, track, state } = setUp()
    await start()
    track.dispatchEvent(new Event('mute'))
    expect(state().stages.camera.problem).toBe('camera_busy')
    track.dispatchEvent(new Event('unmute'))
    expect(state().stages.camera).toEqual({ state: 'ok' })
    track.dispatchEvent(new Event('ended'))
    expect(state()).toMatchObject({ running: false, stages: { camera: { problem: 'camera_missing' } } })
  })

  it('stops with a reason when detection breaks', async () => {
    const { start, worker, state } = setUp()
    await start()
    worker.say({ type: 'failed', problem: 'worker_failed', detail: 'out of memory' })
    await settle()

    expect(state()).toMatchObject({ running: false, stages: { models: { problem: 'worker_failed' } } })
  })
})

describe('the connection', () => {
  it('shows that the server has gone, and that it is back', async () => {
    const { start, network, state } = setUp()
    await start()
    network.latest.lose()
    expect(state()).toMatchObject({ connection: 'reconnecting', stages: { server: { problem: 'server_unreachable' } } })
    expect(state().retryAfterS).toBeGreaterThan(0)

    vi.advanceTimersByTime(1000)
    network.latest.accept()
    network.latest.ready({ resumed: true })
    expect(state()).toMatchObject({ connection: 'open', retryAfterS: null, stages: { server: { state: 'ok' } } })
  })

  it('goes on counting signs when the server has forgotten the session', async () => {
    const { start, network, state } = setUp()
    await start()
    network.latest.sign(1)
    network.latest.answer({ type: 'caption', text: 'hello' })
    network.latest.lose()
    vi.advanceTimersByTime(1000)
    network.latest.accept()
    network.latest.ready({ session_id: 'two' })
    network.latest.sign(1)
    network.latest.answer({ type: 'caption', text: 'cat' })

    expect(state().signs.map(({ id }) => id)).toEqual([1, 2])
    expect(state().caption).toBe('hello cat')
  })

  it('tells a server without a model from one that is not there', async () => {
    const { controller, network, state } = setUp()
    await controller.startCamera()
    network.latest.accept()
    network.latest.answer({ type: 'error', code: 'no_model', message: 'no model in data/models' })
    network.latest.lose(4004)

    expect(state().stages.server.problem).toBe('no_model')
    expect(state().connection).toBe('closed')
  })

  it('notes that a clip could not be kept, until the next one is given', async () => {
    const { controller, network, state } = setUp()
    await controller.startCamera()
    network.latest.accept()
    network.latest.sign(1)
    controller.choose(1, 'cat', true)
    network.latest.answer({ type: 'error', code: 'feedback_full', message: 'no room for another clip' })

    expect(state().clipRefused).toBe(true)
    controller.choose(1, 'hello', true)
    expect(state().clipRefused).toBe(false)
  })

  it('keeps what the server finds wrong with a stream until another source is chosen', async () => {
    const { controller, network, state } = setUp()
    await controller.startCamera()
    network.latest.accept()
    network.latest.answer({ type: 'error', code: 'hands_exchanged', message: 'exchange them' })
    network.latest.sign(1)

    expect(state().trouble).toBe('hands_exchanged')
    controller.stop()
    await controller.startCamera()
    expect(state().trouble).toBeNull()
  })

  it.each([
    ['bad_message', 'refused'],
    ['bad_time', 'refused'],
    ['implausible_times', 'implausible_times'],
    ['time_not_increasing', null],
  ] as const)('takes the error %s for the trouble %s', async (code, trouble) => {
    const { controller, network, state } = setUp()
    await controller.startCamera()
    network.latest.accept()
    network.latest.answer({ type: 'error', code, message: 'width: must be at least 16' })

    expect(state().trouble).toBe(trouble)
  })

  it('forgets that an answer was missing once a sign is read', async () => {
    const { controller, network, state } = setUp()
    await controller.startCamera()
    network.latest.accept()
    network.latest.answer({ type: 'error', code: 'inference_overloaded', message: 'leaves out answers' })

    expect(state().trouble).toBe('inference_overloaded')
    network.latest.sign(1)
    expect(state().trouble).toBeNull()
  })

  it('says how long a full server asks to wait', async () => {
    const { controller, network, state } = setUp()
    await controller.startCamera()
    network.latest.accept()
    network.latest.answer({ type: 'busy', retry_after_s: 10 })

    expect(state()).toMatchObject({ connection: 'busy', stages: { server: { problem: 'server_busy' } } })
    expect(state().retryAfterS).toBeGreaterThanOrEqual(10)
  })
})

describe('translating a file', () => {
  const file = new File([], 'clip.npz')

  it('replays a landmark clip from time zero and ends it', async () => {
    const frames = [1000, 1033, 1066].map((timeMs) => ({ timeMs, points: emptyFrame() }))
    const { controller, network, state } = setUp({
      openFile: () => Promise.resolve({ kind: 'clip', frames, width: 540, height: 720, durationMs: 66 }),
    })
    const done = controller.openFile(file)
    await settle()
    network.latest.accept()
    network.latest.ready()
    await settle()
    network.latest.answer({ type: 'ended', last_sequence: 3 })
    await done

    expect(network.latest.messages).toMatchObject([
      { type: 'hello', pace: 'replay', width: 540, height: 720 },
      { type: 'end' },
    ])
    expect(network.latest.sequences).toEqual([1, 2, 3])
    expect(state()).toMatchObject({ source: 'file', running: false, fileProgress: 1 })
    expect(state().stages.models.state).toBe('pending')
  })

  it('detects a video frame by frame with the file’s own times', async () => {
    let isClosed = false
    const close = (): void => {
      isClosed = true
    }
    const { controller, network, state } = setUp({
      openFile: () => Promise.resolve({ kind: 'video', width: 640, height: 480, durationMs: 80, pictures, close }),
    })
    const done = controller.openFile(file)
    await settle()
    network.latest.accept()
    network.latest.ready()
    await settle()
    network.latest.answer({ type: 'ended', last_sequence: 3 })
    await done

    const times = network.latest.sent
      .filter((data) => data instanceof ArrayBuffer)
      .map((data) => new DataView(data).getFloat64(8, true))
    expect(times).toEqual([0, 40, 80])
    expect(isClosed).toBe(true)
    expect(state()).toMatchObject({ running: false, fileProgress: 1 })
  })

  it('says what is wrong with a file, and is ready for the next', async () => {
    const { controller, state } = setUp({
      openFile: () => Promise.reject(new EngineError('file_unreadable', 'not a .npz file')),
    })
    await controller.openFile(file)

    expect(state()).toMatchObject({
      source: 'none',
      running: false,
      fileProgress: null,
      stages: { camera: { state: 'failed', problem: 'file_unreadable', detail: 'not a .npz file' } },
    })
  })

  it('leaves a file when the camera starts', async () => {
    const frames = Array.from({ length: 3000 }, (_, index) => ({ timeMs: index, points: emptyFrame() }))
    const { controller, network, start, state } = setUp({
      openFile: () => Promise.resolve({ kind: 'clip', frames, width: 640, height: 480, durationMs: 3000 }),
    })
    const done = controller.openFile(file)
    await settle()
    await start()
    await done

    expect(network.sockets).toHaveLength(2)
    expect(network.latest.sequences).toEqual([])
    expect(state()).toMatchObject({ source: 'camera', running: true })
  })
})
