import { describe, expect, it } from 'vitest'
import { BACKGROUNDS, TEXT_COLOURS } from '@/preferences/preferences'
import { captionColours, contrast, isHardToRead } from './captionStyle'

describe('caption colours', () => {
  it('measure contrast as WCAG does', () => {
    expect(contrast('#000000', '#ffffff')).toBeCloseTo(21)
    expect(contrast('#777777', '#ffffff')).toBeCloseTo(4.48, 2)
  })

  it('follow the page when nothing is chosen', () => {
    expect(captionColours('auto', 'auto')).toEqual({})
  })

  it.each(TEXT_COLOURS.filter((name) => name !== 'auto'))('give %s text a background to be read on', (colour) => {
    expect(isHardToRead(colour, 'auto')).toBe(false)
  })

  it.each(BACKGROUNDS.filter((name) => name !== 'auto'))(
    'give text that can be read to a %s background',
    (background) => {
      expect(isHardToRead('auto', background)).toBe(false)
    },
  )

  it('are called hard to read when they are', () => {
    expect(isHardToRead('yellow', 'white')).toBe(true)
    expect(isHardToRead('black', 'navy')).toBe(true)
    expect(isHardToRead('yellow', 'black')).toBe(false)
  })
})
