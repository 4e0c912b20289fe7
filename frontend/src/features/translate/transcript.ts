/** What was signed, with times, as files that other programs read: plain text, SubRip (.srt) and WebVTT (.vtt) subtitles. */
import type { Sign } from './model'

export interface Cue {
  startMs: number
  endMs: number
  text: string
}

export const FORMATS = ['txt', 'srt', 'vtt'] as const
export type Format = (typeof FORMATS)[number]

/** As the server joins letters to a word (`letter_join_ms`). */
const LETTER_JOIN_MS = 2500
/** A short sign's subtitle stays this long, unless the next one comes. */
const LEAST_SHOWN_MS = 1000

/**
 * The signs of the last source that the caption shows, spelled letters joined to words. Times count from a file's beginning, or
 * from the first sign before a camera.
 *
 * @param signs oldest first
 * @param textOf a label's text in the interface's language
 */
export function makeCues(signs: readonly Sign[], textOf: (label: string) => string): Cue[] {
  const newest = signs.at(-1)
  const words: (Cue & { spelled: boolean })[] = []
  for (const sign of signs) {
    if (sign.source !== newest?.source) continue
    const label = sign.chosen ?? sign.label
    if (label === null || sign.undone || (sign.isRepeat && sign.chosen === undefined)) continue
    const spelled = label.startsWith('letter_')
    const last = words.at(-1)
    if (spelled && last?.spelled && sign.startMs - last.endMs <= LETTER_JOIN_MS) {
      last.text += textOf(label)
      last.endMs = sign.endMs
    } else {
      words.push({ startMs: sign.startMs, endMs: sign.endMs, text: textOf(label), spelled })
    }
  }
  const zeroMs = newest?.isFromFile ? 0 : (words[0]?.startMs ?? 0)
  return words.map(({ startMs, endMs, text }, index) => {
    const shownUntilMs = Math.max(endMs, startMs + LEAST_SHOWN_MS)
    const nextMs = words[index + 1]?.startMs ?? Infinity
    return { startMs: startMs - zeroMs, endMs: Math.min(shownUntilMs, Math.max(nextMs, endMs)) - zeroMs, text }
  })
}

/** The file's content. */
export function writeTranscript(cues: readonly Cue[], format: Format): string {
  switch (format) {
    case 'txt':
      return cues.map(({ startMs, text }) => `${clock(startMs, '.').slice(0, 8)} ${text}\n`).join('')
    case 'srt':
      return cues.map((cue, index) => `${index + 1}\n${span(cue, ',')}\n${cue.text}\n\n`).join('')
    case 'vtt':
      return `WEBVTT\n\n${cues.map((cue) => `${span(cue, '.')}\n${escaped(cue.text)}\n\n`).join('')}`
  }
}

function span({ startMs, endMs }: Cue, point: string): string {
  return `${clock(startMs, point)} --> ${clock(endMs, point)}`
}

function two(value: number): string {
  return String(Math.floor(value)).padStart(2, '0')
}

/** hh:mm:ss with milliseconds behind `point`. */
function clock(ms: number, point: string): string {
  const whole = Math.round(ms)
  const [hours, minutes, seconds] = [whole / 3_600_000, (whole / 60_000) % 60, (whole / 1000) % 60]
  return `${two(hours)}:${two(minutes)}:${two(seconds)}${point}${String(whole % 1000).padStart(3, '0')}`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
