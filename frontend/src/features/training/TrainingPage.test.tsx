import { readFileSync } from 'node:fs'
import { act, screen, within } from '@testing-library/react'
import axe from 'axe-core'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { useOperatorToken } from '@/api/operatorToken'
import type { TrainingResult, TrainingSession, TrainingUpdate } from '@/api/training'
import { en } from '@/i18n/en'
import { fr } from '@/i18n/fr'
import { FakeWebSocket } from '@/test/fakeWebSocket'
import { fakeServer, renderApp } from '@/test/renderApp'
import { OPTIONS, RESULT, SESSION, update } from '@/test/trainingData'

vi.mock('uplot', () => ({
  default: class {
    setData = () => undefined
    setSize = () => undefined
    destroy = () => undefined
  },
}))

const DATA = {
  folder: '/srv/signflow/data',
  datasets: [
    { name: 'broken.npz', num_clips: 0, signers: {}, signs: {}, languages: [], problem: 'broken.npz is no clip' },
    {
      name: 'mine.npz',
      num_clips: 60,
      signers: { anna: 20, ben: 40 },
      signs: { hello: 30, yes: 30 },
      languages: ['ase'],
      problem: null,
    },
  ],
}
const sockets: FakeWebSocket[] = []
const asked: [string, unknown][] = []

/** Answers, and remembers what was asked. */
const note =
  (answer: unknown, status = 200) =>
  async (request: Request) => {
    const text = await request.text()
    asked.push([`${request.method} ${new URL(request.url).pathname}`, text === '' ? null : JSON.parse(text)])
    return Response.json(answer, { status })
  }

function server(change: Parameters<typeof fakeServer>[0] = {}) {
  const path = `/api/v1/training/sessions/${SESSION.id}`
  fakeServer({
    'GET /api/v1/training/options': (request) =>
      request.headers.get('Authorization') === 'Bearer right'
        ? Response.json(OPTIONS)
        : Response.json({ code: 'not_allowed', message: 'no' }, { status: 401 }),
    'GET /api/v1/training/datasets': () => Response.json(DATA),
    'GET /api/v1/training/sessions': () => Response.json({ sessions: [] }),
    'POST /api/v1/training/sessions': note(SESSION, 201),
    [`POST ${path}/cancel`]: note({ ...SESSION, cancelling: true }),
    [`POST ${path}/resume`]: note({ ...SESSION, status: 'queued' }),
    [`DELETE ${path}`]: () => new Response(null, { status: 204 }),
    ...change,
  })
}

async function say(news: TrainingUpdate): Promise<void> {
  await vi.waitFor(() => {
    expect(sockets.length).toBeGreaterThan(0)
  })
  const socket = sockets.at(-1)
  await act(async () => {
    if (socket?.readyState === 0) socket.accept()
    socket?.onmessage?.(new MessageEvent('message', { data: JSON.stringify(news) }))
  })
}

function open(session?: Partial<TrainingSession>) {
  useOperatorToken.setState({ token: 'right' })
  return renderApp({}, session === undefined ? '/training' : `/training/${SESSION.id}`)
}

beforeEach(() => {
  sockets.length = asked.length = 0
  vi.stubGlobal(
    'WebSocket',
    class extends FakeWebSocket {
      constructor(url: string) {
        super(url, '')
        sockets.push(this)
      }
    },
  )
  server()
})

describe('the operator', () => {
  it('is asked for the token, which is kept nowhere', async () => {
    const { user } = renderApp({}, '/training')
    await user.type(await screen.findByLabelText('Operator token'), 'wrong{Enter}')
    expect(await screen.findByText('This token was not accepted.')).toBeVisible()
    await user.clear(screen.getByLabelText('Operator token'))
    await user.type(screen.getByLabelText('Operator token'), 'right{Enter}')
    expect(await screen.findByRole('heading', { name: 'New training' })).toBeVisible()
    expect(JSON.stringify({ ...localStorage, ...sessionStorage })).not.toContain('right')
  })

  it('is told which command installs what is missing', async () => {
    server({ 'GET /api/v1/training/options': () => Response.json({ ...OPTIONS, missing: ['torch', 'mlflow'] }) })
    open()
    expect(await screen.findByText('make lab')).toBeVisible()
    expect(screen.getByText('Missing: torch, mlflow')).toBeVisible()
    expect(screen.getByRole('button', { name: 'Start training' })).toBeDisabled()
  })

  it('is told where data sets go when there are none', async () => {
    server({ 'GET /api/v1/training/datasets': () => Response.json({ folder: DATA.folder, datasets: [] }) })
    open()
    expect(await screen.findByText('No recordings yet.')).toBeVisible()
    expect(screen.getByText(DATA.folder)).toBeVisible()
  })
})

describe('a new training', () => {
  it('is started with what was chosen, and opens', async () => {
    const { user } = open()
    await user.click(await screen.findByLabelText('mine.npz'))
    expect(screen.getByLabelText('broken.npz')).toBeDisabled()
    expect(screen.getByText('broken.npz is no clip')).toBeVisible()
    await user.click(screen.getByLabelText('anna (20)'))
    await user.selectOptions(screen.getByLabelText('Recipe'), 'trial')
    expect(screen.getByText('Learns 2 signs from 1 person; 1 person judges it.')).toBeVisible()
    await user.click(screen.getByRole('button', { name: 'Start training' }))
    await say(update())
    expect(asked).toEqual([
      [
        'POST /api/v1/training/sessions',
        { datasets: ['mine.npz'], recipe: 'trial', language: 'ase', held_out: ['anna'], steps: null, seed: 0 },
      ],
    ])
    expect(await screen.findByText('Step 30 of 120 · about 3 minutes left')).toBeVisible()
  })

  it('sends names of every script as they are', async () => {
    const set = { ...DATA.datasets[1], name: '안녕/#1 niño.npz', signers: { 민준: 20, 'Zoë/ø': 40 } }
    server({ 'GET /api/v1/training/datasets': () => Response.json({ ...DATA, datasets: [set] }) })
    const { user } = open()
    await user.click(await screen.findByLabelText('안녕/#1 niño.npz'))
    await user.click(screen.getByLabelText('민준 (20)'))
    await user.click(screen.getByRole('button', { name: 'Start training' }))
    await say(update())
    expect(asked).toEqual([
      [
        'POST /api/v1/training/sessions',
        expect.objectContaining({ datasets: ['안녕/#1 niño.npz'], held_out: ['민준'] }),
      ],
    ])
  })

  it('leaves somebody to learn from', async () => {
    const { user } = open()
    await user.click(await screen.findByLabelText('mine.npz'))
    await user.click(screen.getByLabelText('anna (20)'))
    await user.click(screen.getByLabelText('ben (40)'))
    expect(screen.getByRole('alert')).toHaveTextContent('Leave somebody to learn from.')
    expect(screen.getByRole('button', { name: 'Start training' })).toBeDisabled()
  })

  it('says why it was refused, in the page’s language, with the server’s words as a detail', async () => {
    vi.spyOn(navigator, 'languages', 'get').mockReturnValue(['fr'])
    const refused = { code: 'limit_reached', message: '500 training sessions are kept; delete old ones first' }
    server({ 'POST /api/v1/training/sessions': () => Response.json(refused, { status: 429 }) })
    const { user } = open()
    await user.click(await screen.findByLabelText('mine.npz'))
    await user.click(screen.getByRole('button', { name: fr.training.start }))
    expect(await screen.findByText(fr.training.failure.kinds['limit_reached'] ?? '')).toBeVisible()
    expect(screen.getByText(refused.message)).toHaveAttribute('lang', 'en')
  })

  it('says that nobody answered when the request never arrived', async () => {
    server({ 'POST /api/v1/training/sessions': () => Promise.reject(new TypeError('Failed to fetch')) })
    const { user } = open()
    await user.click(await screen.findByLabelText('mine.npz'))
    await user.click(screen.getByRole('button', { name: 'Start training' }))
    expect(await screen.findByText(en.training.failure.unreachable)).toBeVisible()
  })

  it('has a sentence for every kind of error that the server tells', () => {
    const table = readFileSync('../backend/app/api/errors.py', 'utf8')
    const codes = [...table.matchAll(/Error: \(\d{3}, "(\w+)"\)/g)].map(([, code]) => code ?? '')
    expect(codes).toContain('limit_reached')
    expect(Object.keys(en.training.failure.kinds).toSorted()).toEqual(codes.toSorted())
    expect(Object.keys(fr.training.failure.kinds).toSorted()).toEqual(codes.toSorted())
  })
})

describe('a training', () => {
  it('is followed live: progress, curves, result', async () => {
    open({})
    await say(update({ points: [{ step: 1, loss: 3.2, val_accuracy: null }] }))
    expect(await screen.findByText('Loss 3.200 at step 1')).toBeVisible()
    await say(update({ points: [{ step: 2, loss: 2.5, val_accuracy: 0.5 }] }))
    expect(await screen.findByText('Loss 2.500 at step 2, accuracy on people held out 50%')).toBeVisible()
    await say(update({ session: { ...SESSION, status: 'finished', step: 120, result: RESULT } }))
    expect(await screen.findByText('83% of 40 clips right, of people whom it has never seen.')).toBeVisible()
    const people = screen.getByRole('table')
    expect(within(people).getByRole('row', { name: 'anna 83% 40' })).toBeVisible()
    expect(screen.getByText('hello taken for goodbye, 3 times')).toBeVisible()
    expect(screen.getByText(RESULT.activate)).toBeVisible()
    expect(screen.getByRole('button', { name: 'Download model_v2.onnx' })).toBeEnabled()
  })

  it('names what could not be used, and people and signs of every script', async () => {
    open({})
    const result: TrainingResult = {
      ...RESULT,
      num_left_out: 3,
      left_out: [{ name: '안녕/7.npz', reason: 'has no landmark in any frame' }],
      signers: [
        { signer: '민준', accuracy: 0.5, num_clips: 6 },
        { signer: '서연', accuracy: 0.75, num_clips: 4 },
      ],
      confusions: [{ label: 'c++', predicted: 'letter_ñ', count: 2, fraction: 0.1 }],
    }
    await say(update({ session: { ...SESSION, status: 'finished', result } }))
    expect(await screen.findByText('3 recordings could not be used and were left out.')).toBeVisible()
    expect(screen.getByText('안녕/7.npz: has no landmark in any frame')).toBeVisible()
    expect(screen.getByText(/^2 more/)).toBeVisible()
    expect(screen.getByRole('row', { name: '민준 50% 6' })).toBeVisible()
    expect(screen.getByRole('row', { name: '서연 75% 4' })).toBeVisible()
    expect(screen.getByText('c++ taken for Ñ, 2 times')).toBeVisible()
  })

  it('is cancelled and resumed', async () => {
    const { user } = open({})
    await say(update())
    await user.click(await screen.findByRole('button', { name: 'Cancel' }))
    await say(update({ session: { ...SESSION, cancelling: true } }))
    expect(screen.getByRole('status')).toHaveTextContent('Stopping…')
    await say(update({ session: { ...SESSION, status: 'cancelled' }, cursor: 5 }))
    act(() => {
      sockets[0]?.lose(1000)
    })
    expect(await screen.findByText('This training was cancelled.')).toBeVisible()
    await user.click(screen.getByRole('button', { name: 'Resume' }))
    await vi.waitFor(() => {
      expect(sockets).toHaveLength(2)
    })
    await say(update({ session: { ...SESSION, attempt: 2, resumed_from: 20 }, cursor: 5 }))
    expect(await screen.findByText('Went on from step 20.')).toBeVisible()
    await say(update({ session: { ...SESSION, attempt: 2, resumed_from: 0 }, cursor: 6 }))
    expect(await screen.findByText('Began again: it had ended before its first step was kept.')).toBeVisible()
    expect(asked.map(([what]) => what.split('/').at(-1))).toEqual(['cancel', 'resume'])
  })

  it.each([
    ['failed', 'mine.npz: key is missing', 'The training could not be finished.'],
    ['lost', 'no heartbeat for 30 s', 'The process that trained has died.'],
  ] as const)('that has %s says why and what to do', async (status, message, sentence) => {
    open({})
    await say(update({ session: { ...SESSION, status, message } }))
    expect(await screen.findByText(sentence)).toBeVisible()
    expect(screen.getByText(message)).toBeVisible()
    expect(screen.getByRole('button', { name: 'Resume' })).toBeVisible()
  })

  it('that waits says for what', async () => {
    open({})
    await say(update({ session: { ...SESSION, status: 'queued', phase: null, step: 0 } }))
    expect(await screen.findByText('Starts now, or as soon as a training before it has ended.')).toBeVisible()
  })

  it('is deleted after a second question', async () => {
    const { user } = open({})
    await say(update({ session: { ...SESSION, status: 'finished', result: RESULT } }))
    await user.click(await screen.findByRole('button', { name: 'Delete' }))
    expect(screen.getByText('Model files stay on the server.')).toBeVisible()
    await user.click(screen.getByRole('button', { name: 'Really delete it?' }))
    expect(await screen.findByRole('heading', { name: 'New training' })).toBeVisible()
  })

  it('that is gone says so', async () => {
    open({})
    await vi.waitFor(() => {
      expect(sockets).toHaveLength(1)
    })
    act(() => {
      sockets[0]?.lose(4011)
    })
    expect(await screen.findByText(/There is no such training/)).toBeVisible()
  })

  it('is announced without its result when nobody was held out', async () => {
    open({})
    const result = { ...RESULT, accuracy: null, num_judged: 0, signers: [], confusions: [] }
    await say(update({ session: { ...SESSION, status: 'finished', result } }))
    expect(await screen.findByText(/nothing is known about how it does on new people/)).toBeVisible()
  })
})

describe('accessibility', () => {
  it.each([
    ['the form', undefined],
    ['a running training', SESSION],
    ['a result', { ...SESSION, status: 'finished' as const, result: RESULT }],
  ])('has no violation: %s', async (_name, session) => {
    const { container } = open(session)
    if (session === undefined) await screen.findByLabelText('mine.npz')
    else {
      await say(update({ session, points: [{ step: 1, loss: 2, val_accuracy: 0.5 }] }))
      await screen.findByText(/at step 1/)
    }
    const { violations } = await axe.run(container, { rules: { 'color-contrast': { enabled: false } } })
    expect(violations.map((violation) => `${violation.id}: ${violation.nodes[0]?.html}`)).toEqual([])
  })
})
