import { describe, expect, it } from 'vitest'
import { FrameQueue } from './frameQueue'

/** A queue with frames 1 to `count`, each holding its own number. */
function filled(count: number, { limit = 300, history = 300 } = {}): FrameQueue {
  const queue = new FrameQueue(limit, history)
  for (let index = 0; index < count; index += 1) queue.push((sequence) => Uint32Array.of(sequence).buffer)
  return queue
}

function sendAll(queue: FrameQueue): number[] {
  const sent: number[] = []
  for (let data = queue.next(); data !== null; data = queue.next()) sent.push(new Uint32Array(data)[0] ?? 0)
  return sent
}

describe('FrameQueue', () => {
  it('sends each frame once, and after a lost connection those again that were not acknowledged', () => {
    const queue = filled(5)
    expect(sendAll(queue)).toEqual([1, 2, 3, 4, 5])
    expect(sendAll(queue)).toEqual([])
    queue.acknowledge(3)
    queue.rewind()
    expect(sendAll(queue)).toEqual([4, 5])
  })

  it('sends frames again that were acknowledged, when another process needs them', () => {
    const queue = filled(10)
    sendAll(queue)
    queue.acknowledge(8)
    queue.rewind()
    queue.resumeAfter(4)
    expect(sendAll(queue)).toEqual([5, 6, 7, 8, 9, 10])
    queue.rewind()
    expect(sendAll(queue)).toEqual([9, 10])
  })

  it('goes on after what the server has, also when no statistics told so before', () => {
    const queue = filled(10)
    sendAll(queue)
    queue.rewind()
    queue.resumeAfter(7)
    expect(sendAll(queue)).toEqual([8, 9, 10])
    expect(queue.isFull).toBe(false)
  })

  it('keeps only so many acknowledged frames, and never counts them as waiting', () => {
    const queue = filled(20, { limit: 10, history: 4 })
    expect(queue.dropped).toBe(10)
    sendAll(queue)
    queue.acknowledge(18)
    expect(queue.isFull).toBe(false)
    queue.resumeAfter(0)
    expect(sendAll(queue)).toEqual([15, 16, 17, 18, 19, 20])
  })

  it('counts as dropped what was never sent, and not what was', () => {
    const queue = filled(3, { limit: 3, history: 2 })
    sendAll(queue)
    queue.push(() => new ArrayBuffer(4))
    expect(queue.dropped).toBe(0)
    queue.acknowledge(4)
    for (let index = 0; index < 5; index += 1) queue.push(() => new ArrayBuffer(4))
    expect(queue.dropped).toBe(2)
  })
})
