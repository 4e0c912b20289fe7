import { screen } from '@testing-library/react'
import { describe, expect, it } from 'vitest'
import type { ModelInfo, RemoteHealth, ServerStatus } from '@/api/http'
import { fakeServer, renderApp } from '@/test/renderApp'

const MODEL: ModelInfo = {
  version: 'model_v1',
  sha256: 'ab'.repeat(32),
  file_name: 'model_v1.onnx',
  backend: 'onnx',
  fallback_reason: null,
  tta: false,
  batch: { batch_size: 32, max_latency_ms: 50, capacity: 256 },
  feature_spec: 'hands-v1',
  config: {},
  languages: ['ase'],
  num_signs: 70,
  threshold: 0.6,
  confidence_unmeasured: null,
  provenance: {},
}

const STATUS: ServerStatus = {
  version: '0.1.0',
  python: '3.11.2',
  uptime_s: 5400,
  ready: true,
  no_model_reason: null,
  model: MODEL,
  worker: 1,
  workers: 2,
  session_store: 'redis',
  session_store_reachable: true,
  connections: 3,
  sessions_open: 2,
  sessions_kept: 4,
  max_sessions: 64,
  feedback_clips: 0,
  models_loaded: [],
}

const REMOTE: RemoteHealth = {
  protocol: 'torchserve',
  url: 'http://127.0.0.1:8080',
  model: 'signflow',
  state: 'closed',
  reason: '',
  state_s: 12,
  answered: 120,
  fallbacks: 7,
  kept_local: 0,
  retries: 1,
  failures: 3,
  openings: 2,
  last_failure: 'http://127.0.0.1:8080 did not answer within 0.5 s',
}

const HEALTHY = {
  'GET /ready': () => Response.json({ ready: true, worker: 0, reasons: [], model: null }),
  'GET /health': () => Response.json({ status: 'ok', version: '0.1.0', worker: 0, model: null }),
  'GET /api/v1/models/active': () => Response.json(MODEL),
}

describe('server status', () => {
  it('shows the model, its hash and what runs it', async () => {
    fakeServer(HEALTHY)
    renderApp({}, '/status')
    expect(await screen.findByText('Ready to translate')).toBeVisible()
    expect(await screen.findByText(MODEL.sha256)).toBeVisible()
    expect(screen.getByText('none, the preferred file runs')).toBeVisible()
  })

  it('gives the reason of a fallback', async () => {
    const fallback = {
      ...MODEL,
      confidence_unmeasured: 'calibrated on nobody',
      backend: 'torch',
      fallback_reason: 'model_v1.onnx is truncated',
    }
    fakeServer({ ...HEALTHY, 'GET /api/v1/models/active': () => Response.json(fallback) })
    renderApp({}, '/status')
    expect(await screen.findByText('model_v1.onnx is truncated')).toBeVisible()
    expect(screen.getByText('calibrated on nobody')).toBeVisible()
  })

  it.each([
    [false, 'off'],
    [true, 'on: every question is asked in five views'],
  ])('tells whether test-time augmentation is on (%s)', async (tta, text) => {
    fakeServer({ ...HEALTHY, 'GET /api/v1/models/active': () => Response.json({ ...MODEL, tta }) })
    renderApp({}, '/status')
    expect(await screen.findByText('Test-time augmentation')).toBeVisible()
    expect(screen.getByText(text)).toBeVisible()
  })

  it('tells the limits of the queue', async () => {
    fakeServer(HEALTHY)
    renderApp({}, '/status')
    expect(await screen.findByText('up to 32 questions a call, held back at most 50 ms; 256 may wait')).toBeVisible()
  })

  it('shows no inference server where none is set', async () => {
    fakeServer(HEALTHY)
    renderApp({}, '/status')
    expect(await screen.findByText('Ready to translate')).toBeVisible()
    expect(screen.queryByText('Inference server')).toBeNull()
  })

  it('shows what the inference server did and what was answered in its place', async () => {
    fakeServer({ ...HEALTHY, 'GET /ready': () => Response.json({ ready: true, reasons: [], remote: REMOTE }) })
    renderApp({}, '/status')
    expect(await screen.findByText('answers; the model in this process stands by')).toBeVisible()
    expect(screen.getByText('120 questions')).toBeVisible()
    expect(screen.getByText('7 questions')).toBeVisible()
    expect(screen.getByText('3 failed, 1 asked twice, given up 2 times')).toBeVisible()
    expect(screen.getByText(REMOTE.last_failure)).toBeVisible()
  })

  it.each([
    ['open', 'not used, the model in this process answers: other labels'],
    ['half_open', 'answers again, about to be used: other labels'],
  ] as const)('says why the inference server is not used (%s)', async (state, text) => {
    const remote = { ...REMOTE, state, reason: 'other labels' }
    fakeServer({ ...HEALTHY, 'GET /ready': () => Response.json({ ready: true, reasons: [], remote }) })
    renderApp({}, '/status')
    expect(await screen.findByText(text)).toBeVisible()
  })

  it('says why it is not ready and what to do', async () => {
    const reason = 'no model_v*.onnx in data/models'
    fakeServer({
      ...HEALTHY,
      'GET /ready': () => Response.json({ ready: false, reasons: [reason], model: null }, { status: 503 }),
      'GET /api/v1/models/active': () => Response.json({ code: 'no_model', message: reason }, { status: 503 }),
    })
    renderApp({}, '/status')
    expect(await screen.findByText(reason)).toBeVisible()
    expect(await screen.findByText(/or train one/)).toBeVisible()
  })

  it('says that the server is away', async () => {
    fakeServer({})
    renderApp({}, '/status')
    expect(await screen.findByText('The server does not answer.')).toBeVisible()
  })
})

describe('the operator', () => {
  it('is asked for the token, which is sent and kept nowhere', async () => {
    fakeServer({
      ...HEALTHY,
      'GET /api/v1/status': (request) =>
        request.headers.get('Authorization') === 'Bearer right'
          ? Response.json(STATUS)
          : Response.json({ code: 'not_allowed', message: 'no' }, { status: 401 }),
      'GET /api/v1/feedback': () => Response.json({ total: 0, clips: [] }),
    })
    const { user } = renderApp({}, '/status')
    await user.type(screen.getByLabelText('Operator token'), 'wrong{Enter}')
    expect(await screen.findByText('This token was not accepted.')).toBeVisible()
    await user.clear(screen.getByLabelText('Operator token'))
    await user.type(screen.getByLabelText('Operator token'), 'right{Enter}')
    expect(await screen.findByText('2 open, 64 at most')).toBeVisible()
    expect(screen.getByText('2 of 2')).toBeVisible()
    expect(screen.getByText('Redis, shared by all processes')).toBeVisible()
    expect(await screen.findByText('Nobody has shared a clip yet.')).toBeVisible()
    expect(JSON.stringify({ ...localStorage, ...sessionStorage })).not.toContain('right')
    await user.click(screen.getByRole('button', { name: 'Forget the token' }))
    expect(screen.getByLabelText('Operator token')).toHaveValue('')
  })
})
