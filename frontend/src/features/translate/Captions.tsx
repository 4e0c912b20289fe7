import { useEffect, useRef } from 'react'
import type { Dictionary } from '@/i18n/en'
import { useI18n } from '@/i18n/I18n'
import { usePreferences } from '@/preferences/preferences'
import { useSignText } from '@/vocabulary/signs'
import { captionColours } from './captionStyle'
import { useTranslate } from './ControllerContext'
import type { TranslateState } from './model'

/** The text itself. Only the final words are a live region: a screen reader hears each word once, never the guesses. */
export function Captions({ wasCleared }: { wasCleared: boolean }) {
  const { t } = useI18n()
  const caption = useTranslate((state) => state.caption)
  const running = useTranslate((state) => state.running)
  const source = useTranslate((state) => state.source)
  const sizeRem = usePreferences((state) => state.captionSizeRem)
  const colour = usePreferences((state) => state.captionColour)
  const background = usePreferences((state) => state.captionBackground)
  const box = useRef<HTMLElement>(null)
  const interim = useInterim()

  const words = caption.split(/\s+/).filter(Boolean)
  const empty = words.length === 0 && interim === null
  useEffect(() => {
    // The newest words stay in view; the empty state is read from its top.
    if (box.current) box.current.scrollTop = empty ? 0 : box.current.scrollHeight
  })

  return (
    <section
      id="captions"
      ref={box}
      aria-label={t.captions.title}
      // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- long captions scroll here, by keyboard too
      tabIndex={0}
      className={`min-h-28 flex-1 overflow-y-auto rounded-xl px-4 py-3 sm:px-5 sm:py-4 lg:max-h-none lg:min-h-52 lg:basis-0 ${empty ? '' : 'max-h-44'}`}
      style={captionColours(colour, background)}
    >
      <div className="leading-[1.3] font-medium text-balance" style={{ fontSize: `${sizeRem}rem` }}>
        {/* The live region exists from the start, empty: one that is inserted with its text is not announced. */}
        <span role="status" aria-atomic="false">
          {words.map((word, index) => (
            // oxlint-disable-next-line react/no-array-index-key -- a caption is its words in order; a word has no other identity
            <span key={index}>{word} </span>
          ))}
        </span>
        {interim !== null && <Interim text={interim} />}
      </div>
      {empty && (
        <div>
          <p className="text-2xl font-medium">{t.captions.empty}</p>
          <p className="mt-2 opacity-80">{emptyAdvice(t, source, running, wasCleared)}</p>
          {source !== 'file' && <p className="opacity-80">{t.captions.spellHint}</p>}
        </div>
      )}
    </section>
  )
}

/** What to do next while there is no caption yet. */
function emptyAdvice(t: Dictionary, source: TranslateState['source'], running: boolean, wasCleared: boolean): string {
  if (source === 'file' && running) return t.captions.waitingFile
  if (source === 'file') return wasCleared ? t.captions.keptInHistory : t.captions.noneInFile
  return running ? t.captions.waiting : t.captions.emptyHow
}

/** What may be coming: the best guess while signing, a question mark after a sign that could not be read, or null. */
function useInterim(): string | null {
  const { t } = useI18n()
  const signText = useSignText()
  return useTranslate((state) => {
    const guess = state.partial[0]
    if (state.signing !== 'IDLE') return guess ? `${signText(guess.label)}…` : '…'
    const last = state.signs.at(-1)
    const unsure = last && last.label === null && last.chosen === undefined && !last.undone
    return unsure ? `? ${t.captions.notSure}` : null
  })
}

function Interim({ text }: { text: string }) {
  const { t } = useI18n()
  return (
    <span
      className="whitespace-nowrap border-b-2 border-dashed border-current font-normal italic opacity-75"
      title={t.captions.interim}
    >
      {text}
    </span>
  )
}
