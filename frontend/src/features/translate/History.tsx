import { Copy } from 'lucide-react'
import { IconButton } from '@/components/ui/Button'
import { useI18n } from '@/i18n/I18n'
import { useSignText } from '@/vocabulary/signs'
import { useTranslate } from './ControllerContext'
import type { Sign } from './model'
import { TranscriptFiles } from './TranscriptFiles'
import type { CaptionActions } from './useCaptionActions'

interface HistoryProps {
  actions: CaptionActions
  onCorrect: (signId: number) => void
}

/** Every sign of this visit, newest first, each open to correction; then the captions that were cleared. */
export function History({ actions, onCorrect }: HistoryProps) {
  const { t } = useI18n()
  const signs = useTranslate((state) => state.signs)
  if (signs.length === 0 && actions.cleared.length === 0) return <p className="text-muted">{t.history.empty}</p>
  return (
    <div className="flex flex-col gap-6">
      {signs.length > 0 && (
        <ol reversed className="flex flex-wrap gap-2">
          {signs.toReversed().map((sign) => (
            <li key={sign.id}>
              <HistorySign sign={sign} onCorrect={onCorrect} />
            </li>
          ))}
        </ol>
      )}
      {actions.cleared.length > 0 && (
        <section>
          <h3 className="font-semibold">{t.history.cleared}</h3>
          <ul className="mt-1">
            {actions.cleared.map((text, index) => (
              // oxlint-disable-next-line react/no-array-index-key -- counted from the oldest, which never moves
              <li key={actions.cleared.length - index} className="flex items-center gap-2">
                <span className="min-w-0 flex-1 break-words">{text}</span>
                <IconButton
                  label={t.captions.copyOf(text)}
                  onClick={() => {
                    void actions.copy(text)
                  }}
                >
                  <Copy aria-hidden size={18} />
                </IconButton>
              </li>
            ))}
          </ul>
        </section>
      )}
      <TranscriptFiles />
      <p className="text-sm text-muted">{t.history.forgotten}</p>
    </div>
  )
}

function HistorySign({ sign, onCorrect }: { sign: Sign; onCorrect: (signId: number) => void }) {
  const { t, percent } = useI18n()
  const signText = useSignText()
  const label = sign.chosen ?? sign.label
  const likeliest = sign.alternatives[0]
  const guess = label === null && likeliest ? `${signText(likeliest.label)}? ` : ''
  const text = label === null ? t.history.notSure : signText(label)
  const was = sign.chosen !== undefined && sign.label !== null && sign.chosen !== sign.label
  const notes = [
    sign.undone ? t.history.undone : null,
    was && sign.label !== null ? t.history.was(signText(sign.label)) : null,
    sign.chosen === undefined && !sign.undone ? guess + t.correct.percent(percent(sign.confidence)) : null,
  ]
  return (
    <button
      type="button"
      aria-label={`${t.history.correct(text)} ${notes.filter(Boolean).join(', ')}`}
      onClick={() => {
        onCorrect(sign.id)
      }}
      className={`flex min-h-11 items-baseline gap-2 rounded-xl border px-3 py-2 text-left hover:bg-sunken ${label === null ? 'border-dashed border-edge' : 'border-line'}`}
    >
      <span className={`${sign.undone ? 'line-through opacity-70' : ''} ${label === null ? 'italic' : 'font-medium'}`}>
        {text}
      </span>{' '}
      <span className="text-sm text-muted tabular-nums">{notes.filter(Boolean).join(', ')}</span>
    </button>
  )
}
