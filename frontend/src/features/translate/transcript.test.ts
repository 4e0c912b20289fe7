import { describe, expect, it } from 'vitest'
import { sign } from '@/test/fakeController'
import { textFromLabel } from '@/vocabulary/signs'
import { makeCues, writeTranscript } from './transcript'

const at = (id: number, label: string | null, startMs: number, endMs: number, change = {}) =>
  sign(id, label, { startMs, endMs, source: 1, isFromFile: true, ...change })

describe('a transcript', () => {
  it('holds what the caption shows: corrected, without what was undone, unsure or told twice', () => {
    const signs = [
      at(1, 'hello', 1000, 1900),
      at(2, null, 3000, 3900),
      at(3, 'goodbye', 5000, 5900, { undone: true }),
      at(4, 'mother', 7000, 7900, { chosen: 'thank_you' }),
      at(5, 'mother', 7900, 8800, { isRepeat: true }),
      at(6, null, 9000, 9900, { chosen: 'father' }),
    ]
    expect(makeCues(signs, textFromLabel).map(({ text }) => text)).toEqual(['hello', 'thank you', 'father'])
  })

  it('joins spelled letters to a word, as the caption does', () => {
    const signs = [
      at(1, 'letter_a', 0, 500),
      at(2, 'letter_n', 2000, 2500),
      at(3, 'letter_n', 5100, 5600), // more than 2.5 s later: a new word
      at(4, 'hello', 6000, 6500),
      at(5, 'letter_a', 7000, 7500),
    ]
    expect(makeCues(signs, textFromLabel).map(({ text }) => text)).toEqual(['AN', 'N', 'hello', 'A'])
  })

  it('shows a short sign for a second, but never beyond the next', () => {
    const cues = makeCues([at(1, 'hello', 1000, 1200), at(2, 'mother', 1700, 3000)], textFromLabel)
    expect(cues).toEqual([
      { startMs: 1000, endMs: 1700, text: 'hello' },
      { startMs: 1700, endMs: 3000, text: 'mother' },
    ])
  })

  it('counts a camera’s time from the first sign, and keeps to the last source, whose clock may begin anywhere', () => {
    const camera = { source: 2, isFromFile: false }
    const signs = [
      at(1, 'hello', 5000, 5900),
      at(2, 'mother', 9000, 9900, camera),
      at(3, 'father', 12_000, 12_900, camera),
    ]
    expect(makeCues(signs, textFromLabel).map(({ startMs, text }) => [startMs, text])).toEqual([
      [0, 'mother'],
      [3000, 'father'],
    ])
  })
})

describe('its files', () => {
  const cues = [
    { startMs: 3_725_004.6, endMs: 3_726_000, text: 'A & <B>' },
    { startMs: 3_727_000, endMs: 3_728_500, text: 'hello' },
  ]

  it('are text that anybody reads', () => {
    expect(writeTranscript(cues, 'txt')).toBe('01:02:05 A & <B>\n01:02:07 hello\n')
  })

  it('are SubRip', () => {
    expect(writeTranscript(cues, 'srt')).toBe(
      '1\n01:02:05,005 --> 01:02:06,000\nA & <B>\n\n2\n01:02:07,000 --> 01:02:08,500\nhello\n\n',
    )
  })

  it('are WebVTT, in which & and < mean something', () => {
    expect(writeTranscript(cues, 'vtt')).toBe(
      'WEBVTT\n\n01:02:05.005 --> 01:02:06.000\nA &amp; &lt;B&gt;\n\n01:02:07.000 --> 01:02:08.500\nhello\n\n',
    )
  })
})
