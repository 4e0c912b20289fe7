import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FakeWebSocket } from '@/test/fakeWebSocket'
import { SESSION, update } from '@/test/trainingData'
import type { TrainingUpdate } from './training'
import { mergePoints, trainingSocketUrl, watchTraining, type WatchState } from './trainingSocket'

const sockets: FakeWebSocket[] = []
const states: WatchState[] = []
const updates: TrainingUpdate[] = []

function start() {
  return watchTraining({
    url: 'ws://server/stream',
    token: 'secret',
    onUpdate: (news) => updates.push(news),
    onState: (state) => states.push(state),
    createWebSocket: (url) => {
      const socket = new FakeWebSocket(url, '')
      sockets.push(socket)
      return socket
    },
  })
}

function say(socket: FakeWebSocket | undefined, news: TrainingUpdate): void {
  socket?.onmessage?.(new MessageEvent('message', { data: JSON.stringify(news) }))
}

beforeEach(() => {
  vi.useFakeTimers()
  sockets.length = states.length = updates.length = 0
})

afterEach(() => {
  vi.useRealTimers()
})

describe('the training socket', () => {
  it('says who asks in its first message and passes news on', () => {
    start()
    sockets[0]?.accept()
    say(sockets[0], update({ cursor: 3 }))
    expect(sockets[0]?.sent).toEqual([JSON.stringify({ token: 'secret', cursor: 0 })])
    expect(updates.map((news) => news.session.id)).toEqual([SESSION.id])
    expect(states).toEqual(['connecting', 'open'])
  })

  it('goes on from the last cursor after a lost connection, waiting longer each time', () => {
    start()
    sockets[0]?.accept()
    say(sockets[0], update({ cursor: 7 }))
    sockets[0]?.lose()
    vi.advanceTimersByTime(500)
    sockets[1]?.lose()
    vi.advanceTimersByTime(500)
    expect(sockets).toHaveLength(2)
    vi.advanceTimersByTime(500)
    sockets[2]?.accept()
    expect(sockets[2]?.sent).toEqual([JSON.stringify({ token: 'secret', cursor: 7 })])
    expect(states.at(-1)).toBe('reconnecting')
  })

  it.each([
    [1000, 'ended'],
    [4010, 'refused'],
    [4011, 'gone'],
  ])('does not try again after code %i', (code, state) => {
    start()
    sockets[0]?.accept()
    sockets[0]?.lose(code)
    vi.advanceTimersByTime(60_000)
    expect(sockets).toHaveLength(1)
    expect(states.at(-1)).toBe(state)
  })

  it('looks again when a session that had ended is resumed', () => {
    const watch = start()
    sockets[0]?.accept()
    say(sockets[0], update({ cursor: 9 }))
    sockets[0]?.lose(1000)
    watch.again()
    sockets[1]?.accept()
    expect(sockets[1]?.sent).toEqual([JSON.stringify({ token: 'secret', cursor: 9 })])
  })

  it('stays silent once it is stopped', () => {
    const watch = start()
    watch.stop()
    sockets[0]?.lose()
    vi.advanceTimersByTime(60_000)
    expect(sockets).toHaveLength(1)
    expect(states).toEqual(['connecting'])
  })
})

function point(step: number, loss = step) {
  return { step, loss, val_accuracy: null }
}

describe('points', () => {
  it('are appended', () => {
    expect(mergePoints([point(1)], [point(2), point(3)]).map(({ step }) => step)).toEqual([1, 2, 3])
    expect(mergePoints([point(1)], [])).toEqual([point(1)])
  })

  it('replace what a resumed session does again', () => {
    expect(mergePoints([point(1), point(2), point(3)], [point(2, 9)])).toEqual([point(1), point(2, 9)])
  })
})

it('uses the secure protocol where the page does', () => {
  expect(trainingSocketUrl('ab', 'https://signs.example')).toBe(
    'wss://signs.example/api/v1/training/sessions/ab/stream',
  )
})
