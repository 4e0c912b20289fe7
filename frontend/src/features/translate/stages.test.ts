import { describe, expect, it } from 'vitest'
import { RUNNING } from '@/test/fakeController'
import { INITIAL_STATE } from './engine/state'
import { needsAttention, neededStages } from './stages'

const OK = { state: 'ok' } as const
const state = (change = {}) => ({ ...INITIAL_STATE, ...RUNNING, ...change })
const lost = { camera: OK, models: OK, server: { state: 'failed', problem: 'server_unreachable' } }

describe('the start panel', () => {
  it('is shown until everything runs', () => {
    expect(needsAttention(INITIAL_STATE)).toBe(true)
    expect(needsAttention(state({ stages: { camera: OK, models: { state: 'working' }, server: OK } }))).toBe(true)
    expect(needsAttention(state())).toBe(false)
  })

  it('gives way to the preview when a connection that was there is lost', () => {
    expect(needsAttention(state({ stages: lost, connection: 'reconnecting' }))).toBe(false)
  })

  it('says what to do when the server never answered', () => {
    expect(needsAttention(state({ stages: lost, connection: 'reconnecting', modelVersion: null }))).toBe(true)
  })

  it('does not ask for a camera or for detection when a clip is played', () => {
    const clip = { source: 'file', stages: { camera: { state: 'pending' }, models: { state: 'pending' }, server: OK } }
    expect(neededStages(state(clip))).toEqual(['server'])
    expect(needsAttention(state(clip))).toBe(false)
  })
})
