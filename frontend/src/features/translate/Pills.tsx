import { Lightbulb, MoveDiagonal } from 'lucide-react'
import { useI18n } from '@/i18n/I18n'
import { useTranslate } from './ControllerContext'
import type { TranslateState } from './model'

const PILL =
  'flex items-center gap-2.5 rounded-full bg-black/75 px-3.5 py-2 text-[0.9375rem] leading-snug font-medium text-white'

/** Each state has its own shape, so that it needs no colour to be told apart: a ring, a square, three dots. */
function SigningShape({ signing }: { signing: TranslateState['signing'] }) {
  return (
    <svg aria-hidden width="18" height="18" viewBox="0 0 18 18" className="shrink-0">
      {signing === 'IDLE' && <circle cx="9" cy="9" r="6.5" fill="none" stroke="currentColor" strokeWidth="2.5" />}
      {signing === 'RECORDING' && <rect x="2" y="2" width="14" height="14" rx="3" fill="#66d2c1" />}
      {signing === 'INFERRING' &&
        [3, 9, 15].map((x, index) => (
          <circle
            key={x}
            cx={x}
            cy="9"
            r="2.5"
            fill="currentColor"
            className="animate-pulse"
            style={{ animationDelay: `${index * 150}ms` }}
          />
        ))}
    </svg>
  )
}

export function SigningPill() {
  const { t } = useI18n()
  const signing = useTranslate((state) => state.signing)
  const isFile = useTranslate((state) => state.source === 'file')
  const running = useTranslate((state) => state.running)
  const fileText = running ? t.state.watching : t.state.finished
  return (
    <div className="absolute bottom-3 left-3 max-w-[calc(100%-1.5rem)]">
      <p className={PILL} data-state={signing}>
        <SigningShape signing={signing} />
        {isFile && signing === 'IDLE' ? fileText : t.state[signing]}
      </p>
    </div>
  )
}

/** One piece of advice at a time, the most important first. */
export function HintPill() {
  const { t } = useI18n()
  const hint = useTranslate((state) => state.hints[0])
  if (!hint) return null
  const Icon = hint === 'low_light' ? Lightbulb : MoveDiagonal
  return (
    <div className="absolute inset-x-3 top-3 flex justify-center">
      <p className={`${PILL} animate-appear rounded-2xl`}>
        <Icon aria-hidden size={18} className="shrink-0 text-[#f3c680]" />
        {t.hint[hint]}
      </p>
    </div>
  )
}
