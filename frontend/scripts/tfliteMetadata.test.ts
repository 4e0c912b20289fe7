import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { unzipSync } from 'fflate'
import { beforeAll, describe, expect, it } from 'vitest'
import { hasMetadata, withImageMetadata } from './tfliteMetadata.mjs'

const BUNDLE = '.cache/mediapipe/holistic_landmarker.task'

describe('the landmark bundle', () => {
  let models: Record<string, Uint8Array> = {}

  beforeAll(() => {
    if (!existsSync(BUNDLE)) execFileSync(process.execPath, ['scripts/buildMediapipeBundle.mjs'])
    models = unzipSync(new Uint8Array(readFileSync(BUNDLE)))
  })

  it('holds the six models by the names that MediaPipe looks for, stored and not deflated', () => {
    expect(Object.keys(models).toSorted()).toEqual([
      'face_detector.tflite',
      'face_landmarks_detector.tflite',
      'hand_landmarks_detector.tflite',
      'hand_roi_refinement.tflite',
      'pose_detector.tflite',
      'pose_landmarks_detector.tflite',
    ])
    const size = Object.values(models).reduce((sum, model) => sum + model.length, 0)
    expect(readFileSync(BUNDLE).length).toBeGreaterThan(size)
  })

  it('says of every model how its picture is normalised', () => {
    for (const model of Object.values(models)) expect(hasMetadata(model)).toBe(true)
  })

  it('leaves a model alone that already has metadata', () => {
    const model = models['hand_roi_refinement.tflite'] ?? new Uint8Array()

    expect(withImageMetadata(model, { mean: 0, std: 255 })).toBe(model)
  })
})

describe('withImageMetadata', () => {
  it('puts a head in front and changes no byte of the model', () => {
    const model = new Uint8Array(readFileSync('node_modules/@mediapipe/holistic/pose_landmark_full.tflite'))

    const described = withImageMetadata(model, { mean: 0, std: 255 })

    expect(hasMetadata(model)).toBe(false)
    expect(hasMetadata(described)).toBe(true)
    expect((described.length - model.length) % 16).toBe(0)
    expect(Buffer.compare(described.subarray(described.length - model.length), model)).toBe(0)
  })
})
