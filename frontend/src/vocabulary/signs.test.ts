import { describe, expect, it } from 'vitest'
import type { SignInfo } from '@/api/http'
import { matchSigns, textFromLabel } from '@/vocabulary/signs'

describe('a label without a text of its own', () => {
  it.each([
    ['letter_a', 'A'],
    ['letter_ñ', 'Ñ'],
    ['letter_ß', 'ß'],
    ['letter_ı', 'ı'],
    ['letter_i', 'I'],
    ['thank_you', 'thank you'],
    ['안녕', '안녕'],
    ['c++', 'c++'],
    ['şimdi', 'şimdi'],
  ])('%s is read as %s', (label, text) => {
    expect(textFromLabel(label)).toBe(text)
  })
})

it('finds signs of every script', () => {
  const signs = ['안녕', 'niño', 'c++', 'c#'].map((label): SignInfo => ({
    label,
    language: 'ase',
    kind: 'word',
    texts: {},
    recognised: true,
    num_people: 3,
  }))
  const found = (query: string) => matchSigns(signs, query, 'en').map((sign) => sign.label)
  expect(found('안')).toEqual(['안녕'])
  expect(found('nino')).toEqual(['niño'])
  expect(found('c#')).toEqual(['c#'])
})
