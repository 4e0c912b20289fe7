import { readFileSync } from 'node:fs'
import { InferenceSession, Tensor, env } from 'onnxruntime-web/wasm'
import { beforeAll, describe, expect, it } from 'vitest'

interface Golden {
  cases: {
    name: string
    width: number
    height: number
    times_ms: number[]
    landmarks: (number | null)[]
    logits: number[]
    signing: number[]
    familiarity: number[]
  }[]
}

const golden = JSON.parse(readFileSync('../backend/tests/golden/windows.json', 'utf8')) as Golden

describe('the shipped model in ONNX Runtime for the web answers as the server does', () => {
  let session: InferenceSession

  beforeAll(async () => {
    env.wasm.numThreads = 1
    // Node's buffers are no Uint8Array of jsdom's.
    session = await InferenceSession.create(Uint8Array.from(readFileSync('../backend/data/models/model_v1.onnx')))
  })

  it.each(golden.cases)('for $name', async (one) => {
    const frames = one.times_ms.length
    const answer = await session.run({
      landmarks: new Tensor(
        'float32',
        Float32Array.from(one.landmarks, (value) => value ?? NaN),
        [1, frames, 75, 3],
      ),
      times_ms: new Tensor('float64', Float64Array.from(one.times_ms), [1, frames]),
      aspect: new Tensor('float32', [one.width / one.height], [1]),
      mask: new Tensor('bool', new Uint8Array(frames).fill(1), [1, frames]),
    })

    for (const name of ['logits', 'signing', 'familiarity'] as const) {
      const found = Array.from(answer[name]?.data as Float32Array)
      expect(found).toHaveLength(one[name].length)
      const furthest = Math.max(...found.map((value, index) => Math.abs(value - (one[name][index] ?? NaN))))
      expect(furthest).toBeLessThan(1e-4)
    }
  })
})
