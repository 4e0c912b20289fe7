import { describe, expect, it } from 'vitest'
import { en } from './en'
import { fr } from './fr'
import { detectLocale } from './I18n'

/** Every text of a dictionary with its path; functions are called with plausible arguments. */
function texts(node: unknown, path: string): [string, string][] {
  if (typeof node === 'string') return [[path, node]]
  if (typeof node === 'function') {
    const call = node as (...args: unknown[]) => string
    return [[path, call(...Array.from({ length: call.length }, (_, index) => 2 + index))]]
  }
  return Object.entries(node as object).flatMap(([key, value]) => texts(value, `${path}.${key}`))
}

describe('French typography', () => {
  it.each(texts(fr, 'fr'))('%s has a non-breaking space before double punctuation', (_path, text) => {
    const withoutAddresses = text.replaceAll(/https?:\/\//g, '')
    expect(withoutAddresses).not.toMatch(/[^\u202f][!?;]/)
    expect(withoutAddresses).not.toMatch(/[^\u00a0]:/)
    expect(withoutAddresses).not.toMatch(/[^\u00a0]%/)
    expect(withoutAddresses).not.toMatch(/«[^\u00a0]|[^\u00a0]»/)
    expect(withoutAddresses).not.toContain("'")
  })
})

describe('dictionaries', () => {
  it('are both complete: no text is empty or left in the other language', () => {
    const french = new Map(texts(fr, ''))
    const alike = new Set([
      '.captions.settings',
      '.status.version',
      '.status.hash',
      '.status.serverVersion',
      '.status.python',
      '.status.sessions',
      '.status.windows',
    ])
    const missing = texts(en, '').filter(([path, text]) => text.trim() === '' || french.get(path) === text)
    expect(missing.map(([path]) => path).filter((path) => !alike.has(path))).toEqual([])
  })
})

describe('the first language', () => {
  it.each([
    [['fr-CA', 'en'], 'fr'],
    [['de-DE', 'fr'], 'fr'],
    [['en-GB', 'fr'], 'en'],
    [['de', 'nl'], 'en'],
    [[], 'en'],
  ])('of %j is %s', (languages, expected) => {
    expect(detectLocale(languages)).toBe(expected)
  })
})
