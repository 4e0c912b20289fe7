/** What the server says about training, for tests. */
import type { TrainingOptions, TrainingResult, TrainingSession, TrainingUpdate } from '@/api/training'

export const OPTIONS: TrainingOptions = {
  recipes: [
    { name: 'starter', model: 'starter', steps: 650 },
    { name: 'trial', model: 'tiny', steps: 120 },
  ],
  runner: 'process',
  missing: [],
  install_command: 'make lab',
  datasets_dir: '/srv/signflow/data',
}

export const SESSION: TrainingSession = {
  id: 'a'.repeat(32),
  status: 'running',
  phase: 'training',
  message: '',
  request: { datasets: ['mine.npz'], recipe: 'trial', language: 'ase', held_out: ['anna'], steps: null, seed: 0 },
  attempt: 1,
  resumed_from: null,
  cancelling: false,
  step: 30,
  steps: 120,
  loss: 1.25,
  val_accuracy: null,
  eta_s: 150,
  tracking_run: null,
  tracking_problem: null,
  result: null,
  created_at: '2026-01-01T12:00:00Z',
  started_at: '2026-01-01T12:00:01Z',
  ended_at: null,
}

export const RESULT: TrainingResult = {
  version: 'v2',
  folder: '/srv/models/candidates/v2',
  files: ['model_v2.pt', 'model_v2.onnx'],
  activate: 'cp /srv/models/candidates/v2/model_v2.* /srv/models/',
  num_labels: 12,
  num_clips: 340,
  num_copies: 0,
  num_left_out: 0,
  left_out: [],
  seconds: 90,
  accuracy: 0.825,
  num_judged: 40,
  signers: [{ signer: 'anna', accuracy: 0.825, num_clips: 40 }],
  confusions: [{ label: 'hello', predicted: 'goodbye', count: 3, fraction: 0.1 }],
  threshold: 0.4,
  data_fingerprint: 'f'.repeat(64),
  revision: 'abc1234',
}

export function update(change: Partial<TrainingUpdate> = {}): TrainingUpdate {
  return { session: SESSION, points: [], cursor: 0, ...change }
}
