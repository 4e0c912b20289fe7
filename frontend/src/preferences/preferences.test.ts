import { describe, expect, it } from 'vitest'
import { readPreferences, STANDARD, usePreferences } from './preferences'

describe('preferences', () => {
  it('begin without consent and with the browser’s language and colours', () => {
    expect(STANDARD).toMatchObject({ consent: false, locale: null, theme: 'system' })
  })

  it('are kept in localStorage and nothing else is', () => {
    usePreferences.getState().set({ theme: 'dark', captionSizeRem: 4 })
    const kept = JSON.parse(localStorage.getItem('signflow.preferences') ?? '') as { state: object }
    expect(kept.state).toEqual({ ...STANDARD, theme: 'dark', captionSizeRem: 4 })
  })

  it.each([null, 'dark', 7, { theme: 'neon', captionSizeRem: 900, consent: 'yes', locale: 'de' }])(
    'read from %j are the standard ones',
    (stored) => {
      expect(readPreferences(stored)).toEqual(STANDARD)
    },
  )

  it('keep what makes sense beside what does not', () => {
    expect(readPreferences({ theme: 'dark', captionColour: 'beige' })).toEqual({ ...STANDARD, theme: 'dark' })
  })
})
