import { useCallback, useState } from 'react'
import { useI18n } from '@/i18n/I18n'
import { useController, useTranslate } from './ControllerContext'
import { useSpeech, type Speech } from './speech'

const SHOWN_MS = 2000

export interface CaptionActions {
  canUndo: boolean
  hasText: boolean
  /** What to say about the last copy, for two seconds. */
  copyState: 'idle' | 'copied' | 'failed'
  /** Captions that were cleared since the page was opened, newest first. */
  cleared: string[]
  speech: Speech
  undo: () => void
  clear: () => void
  copy: (text?: string) => Promise<void>
  speak: () => void
}

/** What can be done with the caption, for the buttons and for the keyboard alike. */
export function useCaptionActions(): CaptionActions {
  const controller = useController()
  const { locale } = useI18n()
  const caption = useTranslate((state) => state.caption)
  const canUndo = useTranslate((state) => state.signs.some((sign) => !sign.undone))
  const hasSigns = useTranslate((state) => state.signs.length > 0)
  const [copyState, setCopyState] = useState<CaptionActions['copyState']>('idle')
  const [cleared, setCleared] = useState<string[]>([])
  const speech = useSpeech(locale)

  const copy = useCallback(
    async (text = caption) => {
      if (!text) return
      const state = await write(text)
      setCopyState(state)
      setTimeout(() => {
        setCopyState('idle')
      }, SHOWN_MS)
    },
    [caption],
  )

  return {
    canUndo,
    hasText: caption !== '' || hasSigns,
    copyState,
    cleared,
    speech,
    undo: () => {
      if (canUndo) controller.undo()
    },
    clear: () => {
      if (caption) setCleared((earlier) => [caption, ...earlier])
      controller.clear()
    },
    copy,
    speak: () => {
      speech.toggle(caption)
    },
  }
}

/** The clipboard is missing on insecure addresses, and may refuse. */
async function write(text: string): Promise<'copied' | 'failed'> {
  try {
    await navigator.clipboard.writeText(text)
    return 'copied'
  } catch {
    return 'failed'
  }
}
