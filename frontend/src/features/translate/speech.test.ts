import { act, renderHook } from '@testing-library/react'
import { describe, expect, it, vi } from 'vitest'
import { findVoice, useSpeech } from './speech'

const voice = (lang: string, localService: boolean) => ({ lang, localService, name: lang }) as SpeechSynthesisVoice

function fakeSynthesis(voices: SpeechSynthesisVoice[]) {
  const synthesis = {
    getVoices: () => voices,
    cancel: vi.fn<() => void>(),
    speak: vi.fn<(utterance: { text: string }) => void>(),
  }
  class Utterance extends EventTarget {
    constructor(readonly text: string) {
      super()
    }
  }
  vi.stubGlobal('speechSynthesis', synthesis)
  vi.stubGlobal('SpeechSynthesisUtterance', Utterance)
  return synthesis
}

describe('the voice', () => {
  it('is one of the interface’s language that lives on this device', () => {
    const voices = [voice('fr-FR', false), voice('en-US', true), voice('fr-CA', true)]
    expect(findVoice(voices, 'fr')).toBe(voices[2])
  })

  it('is never one that sends the text away', () => {
    expect(findVoice([voice('fr-FR', false)], 'fr')).toBeUndefined()
  })
})

describe('speaking', () => {
  it('starts on request, and the second request stops it', () => {
    const synthesis = fakeSynthesis([voice('en-GB', true)])
    const { result } = renderHook(() => useSpeech('en'))
    act(() => {
      result.current.toggle('hello')
    })
    expect(synthesis.speak.mock.calls[0]?.[0].text).toBe('hello')
    expect(result.current.speaking).toBe(true)
    act(() => {
      result.current.toggle('hello')
    })
    expect(synthesis.cancel).toHaveBeenCalledOnce()
    expect(result.current.speaking).toBe(false)
  })

  it('says when this device has no voice of the language', () => {
    const synthesis = fakeSynthesis([voice('en-GB', true)])
    const { result } = renderHook(() => useSpeech('fr'))
    act(() => {
      result.current.toggle('bonjour')
    })
    expect(synthesis.speak).not.toHaveBeenCalled()
    expect(result.current.missingVoice).toBe(true)
  })
})
