import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FakeNetwork } from '@/test/fakeWebSocket'
import { emptyFrame } from '@/lib/landmarks'
import type { ServerMessage } from './generated/wsMessages'
import { SignFlowSocket, type ConnectionDetail, type ConnectionState, type StreamSettings } from './SignFlowSocket'

const LIVE: StreamSettings = { width: 640, height: 480, mirrored: false, pace: 'live', locale: 'en' }
const REPLAY: StreamSettings = { ...LIVE, pace: 'replay' }

function setUp() {
  const network = new FakeNetwork()
  const messages: ServerMessage[] = []
  const states: [ConnectionState, ConnectionDetail][] = []
  const socket = new SignFlowSocket({
    url: 'ws://here/stream',
    onMessage: (message) => messages.push(message),
    onConnection: (state, detail) => states.push([state, detail]),
    createWebSocket: network.create,
    random: () => 0.5,
  })
  const frames = (count: number): void => {
    for (let index = 0; index < count; index += 1) socket.sendFrame({ timeMs: performance.now(), points: emptyFrame() })
  }
  const connect = (stream = LIVE): void => {
    socket.open(stream)
    network.latest.accept()
    network.latest.ready()
  }
  return { network, messages, states, socket, frames, connect }
}

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

describe('SignFlowSocket', () => {
  it('says hello in the subprotocol, and sends frames only once the server is ready', () => {
    const { network, socket, frames } = setUp()

    socket.open(LIVE)
    network.latest.accept()
    frames(2)
    const before = network.latest.sequences
    network.latest.ready()

    expect(network.latest.protocol).toBe('signflow.v1')
    expect(network.latest.messages[0]).toEqual({ type: 'hello', client: 'signflow-web', ...LIVE })
    expect(before).toEqual([])
    expect(network.latest.sequences).toEqual([1, 2])
  })

  it('resumes with its token and last sign, and sends the frames that the server has not reached', () => {
    const { network, messages, socket, frames, connect } = setUp()
    connect()
    frames(5)
    network.latest.sign(1)
    network.latest.lose()
    frames(2)

    vi.advanceTimersByTime(500)
    network.latest.accept()
    network.latest.ready({ resumed: true, last_sequence: 3 })
    network.latest.sign(1)
    network.latest.sign(2)

    expect(network.sockets).toHaveLength(2)
    expect(network.latest.messages[0]).toMatchObject({ type: 'hello', resume_token: 'token', last_sign_id: 1 })
    expect(network.latest.sequences).toEqual([4, 5, 6, 7])
    expect(messages.filter((message) => message.type === 'sign').map(({ id }) => id)).toEqual([1, 2])
    expect(socket.state).toBe('open')
  })

  it('sends frames again that were acknowledged, when the session goes on in another process', () => {
    const { network, frames, connect } = setUp()
    connect()
    frames(5)
    network.latest.answer({
      type: 'stats',
      last_sequence: 5,
      frames_handled: 5,
      frames_dropped: 0,
      fps: 30,
      latency_p50_ms: 1,
      latency_p95_ms: 1,
    })
    network.latest.lose()
    frames(1)

    vi.advanceTimersByTime(500)
    network.latest.accept()
    network.latest.ready({ resumed: true, last_sequence: 2 })

    expect(network.latest.sequences).toEqual([3, 4, 5, 6])
  })

  it('takes signs from 1 again when the server has forgotten the session', () => {
    const { network, messages, connect } = setUp()
    connect()
    network.latest.sign(1)
    network.latest.lose()

    vi.advanceTimersByTime(500)
    network.latest.accept()
    network.latest.ready({ session_id: 'two' })
    network.latest.sign(1)

    expect(messages.filter((message) => message.type === 'sign')).toHaveLength(2)
  })

  it('waits longer after each failure, up to a limit, and starts over after a success', () => {
    const { network, states, connect } = setUp()
    connect()
    const waits: (number | null)[] = []
    for (let attempt = 0; attempt < 8; attempt += 1) {
      network.latest.lose()
      waits.push(states.at(-1)?.[1].retryInS ?? null)
      vi.advanceTimersByTime(15_000)
    }
    network.latest.accept()
    network.latest.ready({ resumed: true })
    network.latest.lose()

    expect(waits).toEqual([0.5, 1, 2, 4, 8, 15, 15, 15])
    expect(states.at(-1)).toEqual(['reconnecting', { retryInS: 0.5, lost: { code: 1006, reason: '' } }])
  })

  it('keeps the newest ten seconds of frames while offline, and counts what it had to give up', () => {
    const { network, socket, frames, connect } = setUp()
    connect()
    network.latest.lose()
    frames(310)

    vi.advanceTimersByTime(500)
    network.latest.accept()
    network.latest.ready({ resumed: true })

    expect(network.latest.sequences).toHaveLength(300)
    expect(network.latest.sequences[0]).toBe(11)
    expect(socket.framesDropped).toBe(10)
  })

  it('holds frames back while the network is slow, and goes on in order', () => {
    const { network, frames, connect } = setUp()
    connect()
    network.latest.bufferedAmount = 1_000_000
    frames(3)
    const before = network.latest.sequences
    network.latest.bufferedAmount = 0
    vi.advanceTimersByTime(20)

    expect(before).toEqual([])
    expect(network.latest.sequences).toEqual([1, 2, 3])
  })

  it('makes a replay wait instead of dropping', async () => {
    const { network, socket, frames, connect } = setUp()
    connect(REPLAY)
    frames(1024)
    let hasRoom = false
    void socket.writable().then(() => {
      hasRoom = true
    })
    await vi.advanceTimersByTimeAsync(0)
    const before = hasRoom
    network.latest.answer({
      type: 'stats',
      last_sequence: 100,
      frames_handled: 100,
      frames_dropped: 0,
      fps: 100,
      latency_p50_ms: 1,
      latency_p95_ms: 1,
    })
    await vi.advanceTimersByTimeAsync(0)

    expect(before).toBe(false)
    expect(hasRoom).toBe(true)
    expect(socket.framesDropped).toBe(0)
  })

  it('comes back when a full server said it may', () => {
    const { network, states, socket } = setUp()
    socket.open(LIVE)
    network.latest.accept()
    network.latest.answer({ type: 'busy', retry_after_s: 10 })
    network.latest.lose(1013)

    expect(states.at(-1)).toEqual(['busy', { retryInS: 11, lost: null }])
    vi.advanceTimersByTime(11_000)
    expect(network.sockets).toHaveLength(2)
  })

  it('does not come back by itself when the server has no model', () => {
    const { network, states, socket } = setUp()
    socket.open(LIVE)
    network.latest.accept()
    network.latest.lose(4004)
    vi.advanceTimersByTime(120_000)

    expect(states.at(-1)).toEqual(['closed', { retryInS: null, lost: { code: 4004, reason: '' } }])
    expect(network.sockets).toHaveLength(1)
  })

  it('pings, and gives up a connection that answers nothing', () => {
    const { network, socket, connect } = setUp()
    connect()
    vi.advanceTimersByTime(10_000)
    expect(network.latest.messages.at(-1)).toEqual({ type: 'ping' })
    network.latest.answer({ type: 'pong' })
    vi.advanceTimersByTime(10_000)
    expect(socket.state).toBe('open')
    vi.advanceTimersByTime(10_000)
    expect(socket.state).toBe('reconnecting')
  })

  it('ends after the last frame, and ends again after a lost connection', async () => {
    const { network, socket, frames, connect } = setUp()
    connect(REPLAY)
    frames(1)
    const finished = socket.finish()
    expect(network.latest.messages.at(-1)).toEqual({ type: 'end' })
    network.latest.lose()
    vi.advanceTimersByTime(500)
    network.latest.accept()
    network.latest.ready({ resumed: true, last_sequence: 1 })
    expect(network.latest.messages.at(-1)).toEqual({ type: 'end' })
    network.latest.answer({ type: 'ended', last_sequence: 1 })

    await expect(finished).resolves.toBeUndefined()
    expect(socket.state).toBe('open')
  })

  it('sends commands after the frames before them, also after a lost connection', () => {
    const { network, socket, frames, connect } = setUp()
    connect()
    network.latest.lose()
    frames(1)
    socket.send({ type: 'undo' })
    vi.advanceTimersByTime(500)
    network.latest.accept()
    network.latest.ready({ resumed: true })

    expect(network.latest.sequences).toEqual([1])
    expect(network.latest.messages.at(-1)).toEqual({ type: 'undo' })
    expect(typeof network.latest.sent.at(-1)).toBe('string')
  })

  it('greets again with the new size when a phone turns, without frames of the old size', () => {
    const { network, socket, frames, connect } = setUp()
    connect()
    network.latest.bufferedAmount = 1_000_000
    frames(2)
    socket.restream({ ...LIVE, width: 480, height: 640 })
    network.latest.bufferedAmount = 0
    frames(1)
    vi.advanceTimersByTime(20)

    expect(network.latest.messages.at(-1)).toEqual({
      type: 'hello',
      client: 'signflow-web',
      ...LIVE,
      width: 480,
      height: 640,
    })
    expect(network.latest.sequences).toEqual([3])
  })

  it('resumes in another language', () => {
    const { network, socket, connect } = setUp()
    connect()
    socket.setLocale('fr')
    network.latest.accept()

    expect(network.latest.messages[0]).toMatchObject({ locale: 'fr', resume_token: 'token' })
  })
})
