import { Check, Copy, Eraser, Square, Undo2, Volume2 } from 'lucide-react'
import type { ReactNode } from 'react'
import { Button } from '@/components/ui/Button'
import { useI18n } from '@/i18n/I18n'
import { CaptionSettings } from './CaptionSettings'
import type { CaptionActions } from './useCaptionActions'
import { useTranslate } from './ControllerContext'

/** The row under the captions. On a phone the buttons are symbols; their names stay for screen readers. */
export function CaptionBar({ actions }: { actions: CaptionActions }) {
  const { t } = useI18n()
  const caption = useTranslate((state) => state.caption)
  const { speech, copyState } = actions
  const message = copyState === 'failed' ? t.captions.copyFailed : speech.missingVoice ? t.captions.noVoice : null
  return (
    <div className="border-t border-line px-1 pt-1">
      <div className="flex flex-wrap items-center justify-between gap-1 sm:justify-start">
        <BarButton label={t.captions.undo} onClick={actions.undo} disabled={!actions.canUndo}>
          <Undo2 aria-hidden size={20} />
        </BarButton>
        <BarButton label={t.captions.clear} onClick={actions.clear} disabled={!actions.hasText}>
          <Eraser aria-hidden size={20} />
        </BarButton>
        <BarButton
          label={copyState === 'copied' ? t.captions.copied : t.captions.copy}
          onClick={() => {
            void actions.copy()
          }}
          disabled={!caption}
        >
          {copyState === 'copied' ? <Check aria-hidden size={20} /> : <Copy aria-hidden size={20} />}
        </BarButton>
        {speech.supported && (
          <BarButton
            label={speech.speaking ? t.captions.speakStop : t.captions.speak}
            onClick={actions.speak}
            disabled={!caption && !speech.speaking}
          >
            {speech.speaking ? <Square aria-hidden size={20} /> : <Volume2 aria-hidden size={20} />}
          </BarButton>
        )}
        <span className="hidden flex-1 sm:block" />
        <CaptionSettings />
      </div>
      {message && <p className="px-3 pb-2 text-sm text-warn">{message}</p>}
    </div>
  )
}

interface BarButtonProps {
  label: string
  disabled: boolean
  onClick: () => void
  children: ReactNode
}

function BarButton({ label, disabled, onClick, children }: BarButtonProps) {
  return (
    <Button variant="quiet" disabled={disabled} onClick={onClick} title={label} className="px-3">
      {children}
      <span className="max-sm:sr-only">{label}</span>
    </Button>
  )
}
