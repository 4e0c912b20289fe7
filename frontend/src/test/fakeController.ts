/** A TranslateController without camera, worker or socket: tests set its state and read what was asked of it. */
import { createStore } from 'zustand/vanilla'
import { INITIAL_STATE } from '@/features/translate/engine/state'
import type { Sign, TranslateController, TranslateState } from '@/features/translate/model'

/** The state once camera, models and server run. */
export const RUNNING: Partial<TranslateState> = {
  stages: { camera: { state: 'ok' }, models: { state: 'ok' }, server: { state: 'ok' } },
  source: 'camera',
  running: true,
  cameras: [
    { id: 'front', label: 'Built-in camera' },
    { id: 'usb', label: 'USB camera' },
  ],
  cameraId: 'front',
  connection: 'open',
  captureFps: 14.6,
  modelVersion: 'model_v1',
  vocabularySize: 70,
  giverToken: 'giver-token-1',
}

const FIVE = ['hello', 'thank_you', 'goodbye', 'letter_b', 'see_you_later']

export function sign(id: number, label: string | null, change: Partial<Sign> = {}): Sign {
  const labels = [...new Set([...(label === null ? [] : [label]), ...FIVE])].slice(0, 5)
  return {
    id,
    label,
    confidence: label === null ? 0.31 : 0.92,
    alternatives: labels.map((name, index) => ({
      label: name,
      confidence: [0.92, 0.04, 0.02, 0.01, 0.01][index] ?? 0,
    })),
    startMs: id * 2000,
    endMs: id * 2000 + 900,
    latencyMs: 12,
    modelVersion: 'model_v1',
    ...change,
  }
}

export interface FakeController extends TranslateController {
  /** What the page has asked for, in order: the method's name, then its arguments. */
  calls: [keyof TranslateController, ...unknown[]][]
  set: (change: Partial<TranslateState>) => void
}

export function createFakeController(state: Partial<TranslateState> = {}): FakeController {
  const store = createStore<TranslateState>(() => ({ ...INITIAL_STATE, ...state }))
  const calls: FakeController['calls'] = []
  const record =
    (name: keyof TranslateController) =>
    (...args: unknown[]) => {
      calls.push([name, ...args])
    }
  const recordAsync =
    (name: keyof TranslateController) =>
    async (...args: unknown[]) => {
      calls.push([name, ...args])
    }
  return {
    store,
    calls,
    set: (change) => {
      store.setState(change)
    },
    attach: () => () => undefined,
    setSkeletonVisible: record('setSkeletonVisible'),
    setLocale: record('setLocale'),
    startCamera: recordAsync('startCamera'),
    stop: record('stop'),
    openFile: recordAsync('openFile'),
    undo: record('undo'),
    clear: record('clear'),
    choose: record('choose'),
    retry: record('retry'),
    dispose: record('dispose'),
  }
}
