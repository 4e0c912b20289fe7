import { describe, expect, it } from 'vitest'
import { keyName } from './useShortcuts'

describe('the name of a key', () => {
  it.each([
    [{ code: 'Digit2', key: '2' }, '2'],
    [{ code: 'Digit2', key: 'é' }, '2'],
    [{ code: 'Numpad5', key: '5' }, '5'],
    [{ code: 'Digit6', key: '6' }, '6'],
    [{ code: 'KeyU', key: 'U' }, 'u'],
    [{ code: 'Slash', key: '?' }, '?'],
  ])('of %j is %s', (init, expected) => {
    expect(keyName(new KeyboardEvent('keydown', init))).toBe(expected)
  })
})
