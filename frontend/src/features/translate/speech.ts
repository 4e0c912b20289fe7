/** Reading the captions aloud, when asked, with a voice that lives on this device: others send the text to a company. */
import { useEffect, useState } from 'react'
import type { Locale } from '@/i18n/I18n'

export function findVoice(voices: readonly SpeechSynthesisVoice[], locale: Locale): SpeechSynthesisVoice | undefined {
  return voices.find((voice) => voice.localService && voice.lang.toLowerCase().startsWith(locale))
}

export interface Speech {
  /** False in browsers that cannot speak at all. */
  supported: boolean
  speaking: boolean
  /** The last request found no voice of the interface's language on this device. */
  missingVoice: boolean
  /** Speaks `text`, or stops if something is being spoken. */
  toggle: (text: string) => void
}

export function useSpeech(locale: Locale): Speech {
  const [speaking, setSpeaking] = useState(false)
  const [missingVoice, setMissingVoice] = useState(false)
  const supported = 'speechSynthesis' in globalThis

  useEffect(() => {
    if (!supported) return
    // Some browsers load their voices only after the first question, so ask early.
    speechSynthesis.getVoices()
    return () => {
      speechSynthesis.cancel()
    }
  }, [supported])

  const toggle = (text: string) => {
    if (speaking) {
      speechSynthesis.cancel()
      setSpeaking(false)
      return
    }
    const voice = findVoice(speechSynthesis.getVoices(), locale)
    setMissingVoice(!voice)
    if (!voice || !text) return
    const utterance = new SpeechSynthesisUtterance(text)
    utterance.voice = voice
    utterance.lang = voice.lang
    const done = () => {
      setSpeaking(false)
    }
    utterance.addEventListener('end', done)
    utterance.addEventListener('error', done)
    setSpeaking(true)
    speechSynthesis.speak(utterance)
  }
  return { supported, speaking, missingVoice, toggle }
}
