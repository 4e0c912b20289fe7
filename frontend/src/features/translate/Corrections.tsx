import { Check, List } from 'lucide-react'
import { Button } from '@/components/ui/Button'
import { Kbd } from '@/components/ui/Kbd'
import { Switch } from '@/components/ui/Switch'
import { useI18n } from '@/i18n/I18n'
import { usePreferences } from '@/preferences/preferences'
import { useSignText } from '@/vocabulary/signs'
import { useTranslate } from './ControllerContext'
import type { Alternative, Sign } from './model'

interface CorrectionsProps {
  sign: Sign | undefined
  isLast: boolean
  /** Its landmark clip went to the server with a correction. */
  clipSent: boolean
  choose: (label: string) => void
  onAnother: () => void
  onBackToLast: () => void
}

/** The five likeliest readings of a sign: one press puts it right. The place is kept from the start, so nothing jumps. */
export function Corrections({ sign, isLast, clipSent, choose, onAnother, onBackToLast }: CorrectionsProps) {
  const { t } = useI18n()
  const consent = usePreferences((state) => state.consent)
  const setPreferences = usePreferences((state) => state.set)
  const clipRefused = useTranslate((state) => state.clipRefused)
  return (
    <section aria-labelledby="corrections" className="rounded-2xl bg-surface p-3 shadow-card sm:p-5">
      <div className="mb-2 flex flex-wrap items-baseline gap-x-3 px-1 sm:mb-3 sm:px-0">
        <h2 id="corrections" className="font-semibold">
          {sign && !isLast ? t.correct.titleOf(sign.id) : t.correct.title}
        </h2>
        {sign && <Reading sign={sign} />}
        {clipSent && <p className="text-muted">{clipRefused ? t.correct.refused : t.correct.shared}</p>}
        {sign && !isLast && (
          <button type="button" onClick={onBackToLast} className="ml-auto text-sm text-accent underline">
            {t.correct.backToLast}
          </button>
        )}
      </div>
      {sign ? (
        <ol className="grid grid-cols-2 gap-2 sm:grid-cols-3">
          {sign.alternatives.slice(0, 5).map((alternative, index) => (
            <li key={alternative.label}>
              <Choice
                alternative={alternative}
                number={index + 1}
                current={(sign.chosen ?? sign.label) === alternative.label && !sign.undone}
                choose={choose}
              />
            </li>
          ))}
          <li>
            <Button onClick={onAnother} className="min-h-12! sm:min-h-14! w-full justify-start! px-3! text-left">
              <List aria-hidden size={20} className="shrink-0 max-sm:hidden" />
              {t.correct.another}
            </Button>
          </li>
        </ol>
      ) : (
        <p className="text-muted">{t.correct.empty}</p>
      )}
      <div className="mt-4">
        <Switch
          checked={consent}
          onChange={(checked) => {
            setPreferences({ consent: checked })
          }}
          label={t.correct.consent}
          description={t.correct.consentMore}
        />
      </div>
    </section>
  )
}

/** In words, how the sign stands: read, not sure, put right or undone. */
function Reading({ sign }: { sign: Sign }) {
  const { t } = useI18n()
  const signText = useSignText()
  if (sign.undone) return <p className="text-muted">{t.correct.undone}</p>
  if (sign.chosen !== undefined) return <p className="text-muted">{t.correct.corrected(signText(sign.chosen))}</p>
  if (sign.label !== null) return <p className="text-muted">{t.correct.read(signText(sign.label))}</p>
  return (
    <p>
      <span className="font-medium text-warn">{t.correct.notSure}</span>{' '}
      <span className="text-muted">{t.correct.signAgain}</span>
    </p>
  )
}

interface ChoiceProps {
  alternative: Alternative
  number: number
  current: boolean
  choose: (label: string) => void
}

function Choice({ alternative, number, current, choose }: ChoiceProps) {
  const { t, percent } = useI18n()
  const signText = useSignText()
  const text = signText(alternative.label)
  const value = percent(alternative.confidence)
  return (
    <Button
      aria-pressed={current}
      aria-label={t.correct.choose(number, text, value)}
      onClick={() => {
        choose(alternative.label)
      }}
      className={`relative min-h-12! sm:min-h-14! w-full justify-start! overflow-hidden px-3! text-left ${current ? 'border-accent! bg-accent-soft!' : ''}`}
    >
      <span className="max-sm:hidden">
        <Kbd>{number}</Kbd>
      </span>{' '}
      <span className="min-w-0 flex-1 leading-tight hyphens-auto">
        <span className={current ? 'font-semibold' : ''}>{text}</span>
      </span>{' '}
      {current && <Check aria-hidden size={18} strokeWidth={2.5} className="shrink-0 text-accent" />}
      <span className="text-sm text-muted tabular-nums">{t.correct.percent(value)}</span>
      <span
        aria-hidden
        className="absolute bottom-0 left-0 h-1 rounded-r-full bg-accent"
        style={{ width: `${alternative.confidence * 100}%` }}
      />
    </Button>
  )
}
