/**
 * Finds the 75 points in pictures, in a module worker so that the page stays smooth. Pixels come in, numbers go out: nothing that
 * could show the person leaves this worker.
 *
 * Detection runs on un-flipped pixels. The models and the WebAssembly come from SignFlow itself, under hashed names.
 */
import { HolisticLandmarker, type HolisticLandmarkerResult, type NormalizedLandmark } from '@mediapipe/tasks-vision'
import loaderUrl from '@mediapipe/tasks-vision/vision_wasm_module_internal.js?url'
import binaryUrl from '@mediapipe/tasks-vision/vision_wasm_module_internal.wasm?url'
import modelUrl from '../../../../.cache/mediapipe/holistic_landmarker.task?url'
import { LEFT_HAND_START, RIGHT_HAND_START, emptyFrame } from '@/lib/landmarks'
import { CaptureClock } from './captureClock'
import type { FromDetector, ToDetector } from './detectorMessages'
import { LuminanceMeter } from './luminance'
import { describe } from './problems'

/** What this file uses of a worker's global scope, and the place where MediaPipe looks for its WebAssembly module. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToDetector>) => void) | null
  postMessage(message: FromDetector, transfer: Transferable[]): void
  ModuleFactory?: unknown
}

const scope = self as unknown as WorkerScope
/** Renderers that draw on the processor: the GPU delegate would be slower than the CPU one. */
const SOFTWARE_RENDERERS = /swiftshader|llvmpipe|softpipe|basic render|software/i
/** An empty picture only looks for a person, a tenth of the work: slower than this, the processor's cores do better (ours). */
const MAX_BLANK_MS = 60
/** Detection of a face is skipped at 1: the 75 points need none, and it costs a tenth of the time. */
const NO_FACE = 1

let landmarker: HolisticLandmarker | null = null
let clock = new CaptureClock()
let source = 0
let graphTimeMs = 0
let graphOffsetMs: number | null = null
let reader: ReadableStreamDefaultReader<VideoFrame> | null = null
const luminance = new LuminanceMeter()

function post(message: FromDetector, transfer: Transferable[] = []): void {
  scope.postMessage(message, transfer)
}

/** The graphics processor's name, or null without WebGL. */
function renderer(): string | null {
  const gl = new OffscreenCanvas(1, 1).getContext('webgl2')
  if (gl === null) return null
  const info = gl.getExtension('WEBGL_debug_renderer_info')
  const name = String(gl.getParameter(info === null ? gl.RENDERER : info.UNMASKED_RENDERER_WEBGL))
  gl.getExtension('WEBGL_lose_context')?.loseContext()
  return name
}

async function create(delegate: 'CPU' | 'GPU'): Promise<HolisticLandmarker> {
  // MediaPipe's own loader uses importScripts, which a module worker has not; it also forgets the factory after each use.
  const loader = (await import(/* @vite-ignore */ loaderUrl)) as { default: unknown }
  scope.ModuleFactory = loader.default
  return HolisticLandmarker.createFromOptions(
    { wasmLoaderPath: loaderUrl, wasmBinaryPath: binaryUrl },
    {
      baseOptions: { modelAssetPath: modelUrl, delegate },
      runningMode: 'VIDEO',
      minFaceDetectionConfidence: NO_FACE,
    },
  )
}

/** @returns how long an empty picture takes, in milliseconds; the first one also builds the shaders */
function detectBlank(detector: HolisticLandmarker): number {
  const blank = new OffscreenCanvas(64, 64)
  blank.getContext('2d')?.fillRect(0, 0, 64, 64)
  const startMs = performance.now()
  graphTimeMs += 1
  detector.detectForVideo(blank, graphTimeMs)
  return performance.now() - startMs
}

async function load(pageTimeOrigin: number): Promise<void> {
  clock = new CaptureClock(performance.timeOrigin - pageTimeOrigin)
  const graphics = renderer()
  let gpuFailure: string | null = null
  if (graphics !== null && !SOFTWARE_RENDERERS.test(graphics)) {
    try {
      landmarker = await create('GPU')
      // Some drivers accept the models and fail at the first picture, or crawl: better known now than in the middle of a sign.
      detectBlank(landmarker)
      const blankMs = detectBlank(landmarker)
      if (blankMs > MAX_BLANK_MS) throw new Error(`${graphics} took ${Math.round(blankMs)} ms for an empty picture`)
    } catch (error) {
      gpuFailure = describe(error)
      landmarker?.close()
      landmarker = null
    }
  }
  try {
    const delegate = landmarker === null ? 'CPU' : 'GPU'
    landmarker ??= await create('CPU')
    post({ type: 'loaded', delegate, gpuFailure })
  } catch (error) {
    post({ type: 'failed', problem: graphics === null ? 'webgl_missing' : 'models_failed', detail: describe(error) })
  }
}

function fill(points: Float32Array, start: number, landmarks: NormalizedLandmark[] | undefined): void {
  landmarks?.forEach(({ x, y, z }, index) => points.set([x, y, z], (start + index) * 3))
}

function toPoints(result: HolisticLandmarkerResult): Float32Array {
  const points = emptyFrame()
  fill(points, 0, result.poseLandmarks[0])
  fill(points, LEFT_HAND_START, result.leftHandLandmarks[0])
  fill(points, RIGHT_HAND_START, result.rightHandLandmarks[0])
  return points
}

function detect(picture: VideoFrame | ImageBitmap, timeMs: number): void {
  if (landmarker === null) return
  // The graph wants a time that rises across sources; its filters want the real steps within one.
  graphOffsetMs ??= graphTimeMs + 1000 - timeMs
  graphTimeMs = Math.max(graphTimeMs + 1, timeMs + graphOffsetMs)
  const [width, height] =
    'displayWidth' in picture ? [picture.displayWidth, picture.displayHeight] : [picture.width, picture.height]
  const points = toPoints(landmarker.detectForVideo(picture, graphTimeMs))
  const brightness = luminance.measure(picture, timeMs)
  post({ type: 'frame', source, timeMs, points, width, height, luminance: brightness }, [points.buffer])
}

async function readStream(frames: ReadableStream<VideoFrame>): Promise<void> {
  const current = frames.getReader()
  reader = current
  for (;;) {
    const { done, value: frame } = await current.read()
    if (done || reader !== current) {
      frame?.close()
      break
    }
    try {
      detect(frame, clock.at(frame.timestamp / 1000, performance.now()))
    } finally {
      frame.close()
    }
  }
  if (reader === current) post({ type: 'finished', source })
}

async function begin(next: number): Promise<void> {
  const last = reader
  reader = null
  await last?.cancel()
  source = next
  graphOffsetMs = null
  luminance.reset()
  clock.reset()
  // Setting any option rebuilds the graph, which forgets the last source's tracking.
  await landmarker?.setOptions({ runningMode: 'VIDEO' })
}

let working = Promise.resolve()

async function handle(message: ToDetector): Promise<void> {
  switch (message.type) {
    case 'load':
      return load(message.pageTimeOrigin)
    case 'begin':
      return begin(message.source)
    case 'stream':
      void readStream(message.frames).catch(fail)
      return
    case 'picture':
      try {
        detect(message.picture, message.timeMs)
      } finally {
        message.picture.close()
      }
  }
}

function fail(error: unknown): void {
  post({ type: 'failed', problem: 'worker_failed', detail: describe(error) })
}

scope.onmessage = (event) => {
  working = working.then(() => handle(event.data)).catch(fail)
}
